"""What is supervised, what is decided, and who carries it out."""
