"""`postwarden check`: each file is one kind of mistake, a function of the settings that gives findings."""
