"""The commands of `python -m picogpt`, one module each; `common` is what they share."""
