// Runs before the first paint, so that a search does not begin with the layout of the start page.
if (/[?&](id|upload|like)=/.test(location.search)) document.body.dataset.view = "search";
else if (/[?&]duplicates=/.test(location.search)) document.body.dataset.view = "duplicates";
else if (/[?&]trash\b/.test(location.search)) document.body.dataset.view = "trash";
