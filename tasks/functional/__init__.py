"""Pure maths: values in, values out; no files, no devices, no hidden random state."""
