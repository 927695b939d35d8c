"""What `plan` can tell of models without torch: names, files and folders, before any network is built."""
