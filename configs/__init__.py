"""What may be asked for: settings, presets and their validation. Imports pydantic and yaml, nothing heavier."""
