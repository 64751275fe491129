"""Show stores in a browser while they grow, from their files alone, and write the same as files."""
