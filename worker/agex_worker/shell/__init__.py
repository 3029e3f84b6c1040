"""The terminal: a shell on the workspace, in plain Python."""
