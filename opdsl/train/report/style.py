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
h1 { font-size: 2.1rem; line-height: 1.2; letter-spacing: -0.02em; margin: 0;
  overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 3rem 0 0.8rem; letter-spacing: -0.01em; }
h3 { font-size: 1rem; font-weight: 600; margin: 1.6rem 0 0.5rem; }
p { overflow-wrap: break-word; }
p.subtitle { color: var(--soft); font-size: 1.1rem; margin: 0.4rem 0 0; }
p.note { color: var(--soft); font-size: 0.88rem; }
.facts { display: flex; flex-wrap: wrap; gap: 0.8rem; margin: 2rem 0 0; padding: 0; }
.facts div { flex: 1 1 8rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 0.8rem 1rem; }
.facts dt { color: var(--soft); font-size: 0.82rem; }
.facts dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem; overflow-x: auto; }
figure + figure { margin-top: 1rem; }
figure.plain { background: #ffffff; text-align: center; }
figure.plain img { max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: 0.88rem; text-align: left; margin: 0 0 0.6rem;
  display: flex; flex-wrap: wrap; gap: 0 1.2rem; }
figcaption b { color: var(--ink); }
.plain figcaption { color: #5c6673; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem),
  1fr)); }
.plots figure + figure { margin: 0; }
.chart { display: block; width: 100%; height: auto; }
.chart text { font-size: 12px; fill: var(--soft); }
.chart .grid { stroke: var(--soft); stroke-opacity: 0.25; stroke-width: 0.7; fill: none; }
.legend { display: flex; flex-wrap: wrap; gap: 0.1rem 1.1rem; font-size: 0.85rem;
  margin: 0.3rem 0 0; color: var(--soft); overflow-wrap: anywhere; }
.legend i { display: inline-block; width: 1.3rem; vertical-align: middle; margin-right: 0.4rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, 12.5rem); gap: 0.9rem;
  margin: 0 0 0.9rem; align-items: end; }
.tiles.output { grid-template-columns: repeat(3, 12.5rem); }
.curves { display: grid; gap: 0.9rem; margin: 0 0 0.9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17.5rem), 1fr)); }
.head { display: block; font-size: 0.85rem; line-height: 1.35; margin: 0 0 0.25rem;
  overflow-wrap: anywhere; }
p.head { margin: 0.9rem 0 0.4rem; color: var(--soft); }
.pixels { display: block; width: 100%; image-rendering: pixelated; }
.points { display: block; width: 100%; height: auto; background: #ffffff; }
.bar { height: 0.5rem; margin: 0.35rem 0 0; border-radius: 2px; }
.ends { display: flex; justify-content: space-between; font-size: 0.78rem; color: var(--soft);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.strip { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 0 0 0.5rem; }
.frame { flex: 1 1 5.6rem; min-width: 5.6rem; max-width: 9rem; }
.frame img + img { margin-top: 0.25rem; }
.film { max-width: 36rem; margin: 0 0 0.9rem; }
.film img { display: block; width: 100%; height: auto; background: #ffffff; }
.heads { display: flex; font-size: 0.85rem; }
.heads span { flex: 1; }
.scroll { overflow-x: auto; }
.scroll + .scroll { margin-top: 1.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: 0.93rem; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: 0.42rem 0.9rem 0.42rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.long { overflow-wrap: anywhere; }
td.best { font-weight: 700; }
.pairs td:first-child { white-space: nowrap; color: var(--soft); }
.numbers th, .numbers td { text-align: right; white-space: nowrap; }
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
@media (max-width: 40rem) {
  main { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.7rem; }
  figure { padding: 0.7rem; }
  pre { padding: 0.8rem; font-size: 0.75rem; }
  .tiles, .tiles.output { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0.6rem; }
  .stack thead { display: none; }
  .stack, .stack tbody, .stack tr { display: block; }
  .stack tr { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
    padding: 0.5rem 0.8rem; margin: 0 0 0.7rem; }
  .stack td, .numbers.stack td, .numbers.stack td:first-child { display: flex; gap: 1rem;
    justify-content: space-between; border: 0; padding: 0.15rem 0; text-align: right;
    overflow-wrap: anywhere; }
  .stack td::before { content: attr(data-label); color: var(--soft); text-align: left;
    white-space: nowrap; }
  .numbers.stack td { white-space: nowrap; overflow-wrap: normal; }
  .numbers.stack td.long { white-space: normal; overflow-wrap: anywhere; } }
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
