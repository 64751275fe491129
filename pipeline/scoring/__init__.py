"""Turn rows into numbers: decision rules, votes, intervals and tables. Functions of rows, without pandas.

- `rules`: how right each image is under each decision rule
- `decided`: whether the vote and the mean of an image's draws are right, from its lists of classes
- `votes`: the compiled count of votes behind the rule `vote`
- `alike`: the distinct rows of a table, and how many rows are like each
- `evidence`: compiled loops that find the ends of intervals
- `intervals`: a rate over images, or a difference of two, with its 95 % interval
- `holm`: p-values corrected for their number
- `worst_case`: a bound for the accuracy under the worst attack on each image
- `summaries`: one line for each cell and rule, as text, Markdown or JSON
"""

__all__ = ["alike", "decided", "evidence", "holm", "intervals", "rules", "summaries", "votes", "worst_case"]
