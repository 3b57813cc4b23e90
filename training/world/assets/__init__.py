"""The sprites, their table and their licence, and the script that derives them."""
