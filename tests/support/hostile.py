"""Text of a row that must stay text wherever it is shown."""

HOSTILE = '</script><img src=x onerror="document.title=1"> & "quotes"'
