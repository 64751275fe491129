"""Prove what a store says: check rows and examples against the campaign, judge a sample again, attack one image again."""
