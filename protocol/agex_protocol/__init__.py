"""What crosses the pipe between supervisor and worker: messages, framing, values, plan. Standard library and msgpack only."""
