"""Show stores in a browser while they grow, from their files alone, and write the same as files.

- `columns`: the columns of a row that the page can ask for
- `scored`: rows of a store as a flat table, scored under every decision rule
- `queries`: what the page asks of the rows, checked, as SQL with parameters
- `database`: the scored rows of one store, in memory
- `reading`: which rows of a store are new, read file by file
- `watched`: one store, read again and again; `overview` and `figures`: what the page shows of it besides rows; `history`
- `images`: one image in every cell
- `neighbours`: pictures, comparisons and errors, made by other rooms
- `guard`, `app`, `serving`: the page over HTTP, for this machine alone
- `export`: the same as files
"""
