"""What a recipe may say, section by section."""
