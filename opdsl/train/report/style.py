"""The look of the report: one column, light or dark as the reader's system is. No URL in it."""

STYLE = """
:root { --ink: #1c2128; --soft: #5c6673; --paper: #fbfbfa; --card: #ffffff; --line: #e3e5e8;
  --accent: #2f6fb3; --code: #f4f5f6; --warn: #b7791f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e6ea; --soft: #9aa4b0; --paper: #15181c; --card: #1d2126; --line: #32373e;
    --accent: #7db4ec; --code: #22272d; --warn: #d9a441; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans",
    sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: 2.1rem; line-height: 1.2; letter-spacing: -0.02em; margin: 0; }
h2 { font-size: 1.2rem; margin: 3rem 0 0.8rem; letter-spacing: -0.01em; }
h3 { font-size: 1rem; font-weight: 600; margin: 1.6rem 0 0.5rem; }
p.subtitle { color: var(--soft); font-size: 1.1rem; margin: 0.4rem 0 0; }
.facts { display: flex; flex-wrap: wrap; gap: 0.8rem; margin: 2rem 0 0; padding: 0; }
.facts div { flex: 1 1 8rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 0.8rem 1rem; }
.facts dt { color: var(--soft); font-size: 0.82rem; }
.facts dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem; overflow-x: auto; text-align: center; }
figure + figure { margin-top: 1rem; }
figure.plain { background: #ffffff; }
figure img { max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: 0.88rem; text-align: left; margin: 0 0 0.6rem; }
.plain figcaption { color: #5c6673; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: 0.93rem; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: 0.42rem 0.8rem 0.42rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
.numbers th, .numbers td { text-align: right; }
.numbers th:first-child, .numbers td:first-child { text-align: left; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 10px; margin: 0;
  padding: 1rem 1.2rem; overflow-x: auto; font: 0.85rem/1.55 ui-monospace, SFMono-Regular, Menlo,
  Consolas, "DejaVu Sans Mono", monospace; tab-size: 2; }
.warning { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  border-left: 4px solid var(--warn); padding: 0.8rem 1.2rem; margin: 1rem 0; }
.warning p { margin: 0; font-weight: 600; }
.warning ul { margin: 0.4rem 0 0; padding-left: 1.2rem; }
details summary { cursor: pointer; color: var(--accent); margin: 0.6rem 0; font-size: 0.93rem; }
footer { color: var(--soft); font-size: 0.85rem; margin-top: 4rem; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
