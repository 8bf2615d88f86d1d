"""`hft compare`: where the fills of paper mode differ from the live ones."""
