"""Other people's servers over HTTP: where they are, how many requests at once, and when they are left alone."""
