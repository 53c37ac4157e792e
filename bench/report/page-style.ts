/** The style of the HTML report: no fonts, scripts or pictures from elsewhere; readable in light and dark, on phones and in print. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --faint: #d0d7de; --page: #ffffff; --card: #f6f8fa; --accent: #2463c9; --bad: #c2293d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa5b1; --faint: #373e47; --page: #0f1318; --card: #171c23; --accent: #79aaf5; --bad: #ff7b8a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 28px 16px 64px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4em; }
h2 { font-size: 1.35rem; margin: 2.2em 0 .4em; padding-top: .8em; border-top: 1px solid var(--faint); }
h3 { font-size: 1rem; margin: 0; }
h3.group { margin-top: 1.2em; }
p { max-width: 52em; margin: .5em 0; }
p.intro { font-size: 1.1rem; }
.soft, figcaption { color: var(--soft); font-size: .88rem; }
p.soft { max-width: 60em; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.cards, .panels { display: grid; gap: 14px; margin: 16px 0; grid-template-columns: repeat(auto-fill, minmax(min(310px, 100%), 1fr)); }
.cards { grid-template-columns: repeat(auto-fit, minmax(min(230px, 100%), 1fr)); }
.headlines { grid-template-columns: repeat(auto-fit, minmax(min(158px, 45%), 1fr)); }
.card, .panels figure { margin: 0; padding: 12px 14px; background: var(--card); border: 1px solid var(--faint); border-radius: 10px; }
.card p { margin: .4em 0 0; font-size: .93rem; }
.formula { font: italic 1.1rem Georgia, "Times New Roman", serif; margin: .35em 0; white-space: nowrap; }
.formula sup { font-size: .7em; line-height: 0; }
.big { font-size: 1.7rem; font-weight: 650; line-height: 1.2; }
.panels svg { display: block; width: 100%; height: auto; margin-top: 6px; }
.overview { margin: 16px 0; padding: 6px; border: 1px solid var(--faint); border-radius: 10px; background: var(--card); }
.overview svg { display: block; width: 100%; height: auto; }
@media (max-width: 760px) { .overview { display: none; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; margin: 8px 0; }
th, td { padding: 3px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; }
td.text { white-space: normal; }
th { font-weight: 600; color: var(--soft); }
tr.lead td { font-weight: 650; color: var(--accent); }
tr.limit td { color: var(--soft); font-style: italic; }
details { margin: 8px 0; border: 1px solid var(--faint); border-radius: 10px; padding: 8px 14px; }
summary { cursor: pointer; }
.wrong { color: var(--bad); font-weight: 600; }
ul { padding-left: 1.2em; max-width: 48em; }
li { margin: .35em 0; }
`;
