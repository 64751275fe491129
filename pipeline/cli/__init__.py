"""Hold the `barrage` command: `app` lists the commands, one file each.

work/       commands that compute: run, check, train, plan, demo
store/      commands that read a store: status, table, report, show, replay, verify
files/      commands that make files: pack, gallery, schema
common      the consoles and options that commands share
progress    what a person sees while a run goes on; `pace` reckons the time left
training_progress   what a person sees while a training goes on
"""
