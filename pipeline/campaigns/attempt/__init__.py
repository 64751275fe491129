"""Do one unit: read its images, attack and judge them, commit their rows.

`bench` holds what all units need on a device, `unit` does one, `events` are its reports. `image_rows` makes rows; `alone` does
one by one the images of a unit that failed; `clean_pass` suspects labels and preprocessing.
"""
