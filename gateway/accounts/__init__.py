"""What each API key may ask for and spend, and what it has."""
