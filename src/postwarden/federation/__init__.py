"""One alias table from the files of many owners: sources, rights, versions, and the merge."""
