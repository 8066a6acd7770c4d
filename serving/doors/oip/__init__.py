"""The Open Inference Protocol's messages as text and bytes. Pure."""
