// The lens's style sheet.

export const STYLE = `
:host { all: initial; display: block; color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif;
  --paper: light-dark(#fff, #1b1b1b); --ink: light-dark(#1a1a1a, #eee); --line: light-dark(#767676, #9a9a9a);
  --soft: light-dark(#f2f2f2, #2a2a2a); --mark: light-dark(#a3004f, #ff8ac2);
  color: var(--ink); background: var(--paper); }
* { box-sizing: border-box; }
.lens { padding: 12px; max-width: 1280px; }
.title { font-size: 18px; margin: 0 0 8px; } .head { font-size: 14px; margin: 12px 0 4px; }
p { margin: 4px 0; } .row { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; }
.body[aria-busy=true] { opacity: 0.5; } [hidden] { display: none !important; }
.controls { align-items: center; } label { display: inline-flex; gap: 6px; align-items: center; }
select, button, input { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--line);
  border-radius: 4px; padding: 3px 8px; } input[type=range] { padding: 0; width: 220px; accent-color: var(--mark); }
button { cursor: pointer; } :focus-visible { outline: 3px solid var(--mark); outline-offset: 1px; }
canvas { image-rendering: pixelated; display: block; background: #fff; }
.tiles { display: flex; flex-wrap: wrap; gap: 4px; } .tiles button { padding: 2px; line-height: 1.1; font-size: 11px; }
.tiles [aria-pressed=true] { outline: 3px solid var(--mark); } .tiles canvas { width: 40px; height: 40px; } canvas.pen { width: 192px; border: 1px solid var(--line); }
.stage { position: relative; width: fit-content; } .stage canvas { width: 256px; outline: 1px solid var(--line); } .stage svg { position: absolute; inset: 0; width: 100%;
  height: 100%; pointer-events: none; filter: drop-shadow(0 0 1px #fff) drop-shadow(0 0 1px #fff); }
.stage rect { fill: none; stroke: #a3004f; stroke-width: 2px; vector-effect: non-scaling-stroke; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12px; }
td { border: 1px solid var(--line); padding: 1px 4px; min-width: 50px; text-align: right; }
td.out { color: var(--line); } .sum { font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; max-width: 100%; }
td input { width: 42px; padding: 0; font-size: 12px; color: inherit; background: transparent; border: 0;
  text-align: right; appearance: textfield; } td input::-webkit-inner-spin-button { display: none; } .bar { display: grid; grid-template-columns: 90px 120px 56px 50px; gap: 6px; align-items: center; font-size: 12px; }
.bar i { display: block; height: 10px; background: light-dark(#2166ac, #7db4e6); } .note { color: var(--mark); }
`;
