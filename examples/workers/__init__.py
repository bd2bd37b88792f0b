"""Work for the processor, on all of its cores."""
