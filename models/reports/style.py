"""Style sheet of the reports, as a string so that pages need no other file."""

STYLE = """
:root { color-scheme: light dark; --page: #faf9f7; --card: #fff; --line: #dedbe6; --text: #1f1c2b; --quiet: #625d73;
  --accent: #5146d0; font: 100%/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14131a; --card: #1e1c27; --line: #3a3649; --text: #f0eef6; --quiet: #aaa5bb; --accent: #a9a0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); }
main { max-width: 76rem; margin: 0 auto; padding: clamp(1rem, 3vw, 2.5rem); display: grid; gap: 1.5rem; }
main > *, figure { min-width: 0; }
h1, h2, p, dl, dd, figure { margin: 0; }
h1 { font-size: 2rem; letter-spacing: -0.02em; line-height: 1.2; }
h2 { font-size: 1.25rem; }
header, section { display: grid; gap: 1rem; }
section { padding: 1.25rem; background: var(--card); border: 1px solid var(--line); border-radius: 0.9rem; }
p, dd, summary { color: var(--quiet); overflow-wrap: anywhere; }
p, dl:not(.tiles) { max-width: 62rem; }
dl:not(.tiles) { display: grid; gap: 0.3rem; }
dl:not(.tiles) > div { display: grid; grid-template-columns: 9rem 1fr; gap: 1rem; }
dt { font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; }
.tiles > div { display: flex; flex-direction: column-reverse; padding: 1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 0.9rem; }
.tiles dd { color: var(--accent); font-size: 1.9rem; font-weight: 650; line-height: 1.2; }
.tiles dt { color: var(--quiet); font-weight: 400; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); gap: 1.5rem; }
figure svg, figure img { display: block; width: 100%; height: auto; }
figcaption, caption { margin-bottom: 0.5rem; font-weight: 600; text-align: left; }
.scroll { overflow-x: auto; min-width: 0; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { padding-left: 0; text-align: left; white-space: normal; }
thead th { color: var(--quiet); font-size: 0.875rem; font-weight: 600; }
tbody th { font-weight: 500; }
summary { cursor: pointer; }
details .scroll { margin-top: 0.75rem; }
@media (max-width: 40rem) { dl:not(.tiles) > div { grid-template-columns: 1fr; gap: 0; margin-bottom: 0.4rem; } }
"""
