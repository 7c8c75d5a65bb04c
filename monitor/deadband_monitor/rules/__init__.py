"""The pure judges: samples in, flags and causes out. No clocks, files or sockets."""
