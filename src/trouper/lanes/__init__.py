"""Where handlers run: one trio loop, one asyncio loop, and a thread for each threading actor."""
