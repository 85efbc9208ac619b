"""Patches of foreign packages, one file a package, and in no other place.

A patch changes what a package does by other means than it offers. Each file says for which version it is made, what is
wrong there, who was told, and why it is changed here; its test in `tests/jc1/compat/` shows the fault without the patch
and fails once the package is fixed: then the file goes. What a package offers as a setting, its environment variables
included, is no patch and stands where it is used.
"""
