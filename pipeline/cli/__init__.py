"""Hold the `barrage` command: `app` lists the commands, one file each.

work/       commands that compute: run, check, train, plan
store/      commands that read a store: status, table, verify, report, show
files/      commands that make files: pack, gallery
common      the consoles and options that commands share
progress    what a person sees while a run or a training goes on
"""
