"""Show stores in a browser while they grow, from their files alone, and write the same as files.

- `rows`: columns, queries, the scored rows of one store in memory, and which of its files are new
- `watched`: one store, read again and again; `overview` and `figures`: what the page shows of it besides rows
- `images`: one image in every cell; `pictures`: its pictures
- `neighbours`: pictures, comparisons and errors, made by other rooms
- `server`: the page over HTTP, for this machine alone
- `export`: the same as files
"""
