"""The inner sandbox: a guard rail of names and syntax. The kernel is the wall."""
