"""Turn rows into numbers: decision rules, votes, intervals and tables. Functions of rows, without pandas.

- `rules`: how right each image is under each decision rule
- `votes`: the compiled count of votes behind the rule `vote`
- `intervals`: a rate over images with its 95 % interval
- `summaries`: one line for each cell and rule, as text, Markdown or JSON
"""

__all__ = ["intervals", "rules", "summaries", "votes"]
