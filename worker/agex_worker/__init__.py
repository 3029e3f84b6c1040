"""Hostile ground: the zygote, the lockdown, the inner sandbox, one turn of agent code."""
