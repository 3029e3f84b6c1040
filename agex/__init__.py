"""agex: typed Python functions whose bodies a language model writes."""
