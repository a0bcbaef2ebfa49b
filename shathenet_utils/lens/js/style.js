// The lens's style sheet. It follows the width of its own element, not the window's: two lenses share a window.

export const STYLE = `
:host { all: initial; display: block; color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif;
  --paper: light-dark(#fff, #1b1b1b); --ink: light-dark(#1a1a1a, #eee); --dim: light-dark(#595959, #b0b0b0);
  --line: light-dark(#767676, #9a9a9a); --edge: light-dark(#dcdcdc, #3d3d3d); --soft: light-dark(#f4f4f4, #2a2a2a);
  --mark: light-dark(#a3004f, #ff8ac2); --bar: light-dark(#2166ac, #7db4e6);
  color: var(--ink); background: var(--paper); }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
.lens { container-type: inline-size; padding: 12px; max-width: 1680px; margin: 0 auto; }
.title { font-size: 20px; line-height: 1.2; margin: 0 0 8px; }
.head { font-size: 14px; margin: 0 0 8px; } .head:not(:first-child) { margin-top: 16px; }
p { margin: 4px 0; } .hint, .legend { color: var(--dim); font-size: 12px; } .note, .failure { color: var(--mark); }
.panel { border: 1px solid var(--edge); border-radius: 8px; padding: 12px; min-width: 0; margin: 0 0 10px; }
.panel > :last-child { margin-bottom: 0; }
.body { transition: opacity 0.15s; } .body[aria-busy=true] { opacity: 0.5; }
.spoken { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }

.looking { display: grid; gap: 0 10px; grid-template-columns: minmax(0, 1fr); }
.pair { display: grid; gap: 0 10px; grid-template-columns: minmax(0, 1fr); }
.pair .panel > div + div { margin-top: 16px; }
@container (min-width: 540px) { .looking { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  .looking > :last-child { grid-column: 1 / -1; } }
@container (min-width: 540px) { .tiles.strip.few { display: grid; gap: 6px 12px; grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
  .tiles.strip.few button { width: 100%; max-width: 108px; } }
@container (min-width: 900px) { .pair { grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); } }
@container (min-width: 1060px) { .looking { grid-template-columns: minmax(0, 5fr) minmax(0, 6fr) minmax(0, 8fr); }
  .looking > :last-child { grid-column: auto; } }

.controls { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; margin: 4px 0 8px; }
.stacked { display: grid; gap: 8px; justify-items: start; min-width: 0; max-width: 100%;
  grid-template-columns: minmax(0, 1fr); }
@container (max-width: 539px) { .looking > :first-child .stage { max-width: 240px; } }
label { display: inline-flex; white-space: nowrap; gap: 6px; align-items: center; max-width: 100%; }
select, button, input { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--line);
  border-radius: 5px; padding: 4px 9px; min-width: 0; max-width: 100%; }
input[type=range] { padding: 0; width: 200px; accent-color: var(--mark); } input[type=checkbox] { accent-color: var(--mark); }
input[type=file] { width: 100%; } input[type=color] { padding: 2px; width: 44px; height: 28px; } input[type=number] { width: 72px; }
button { cursor: pointer; touch-action: manipulation; } button:disabled { cursor: default; color: var(--dim); border-style: dashed; }
button:not(:disabled):hover { border-color: var(--ink); }
:focus-visible { outline: 3px solid var(--mark); outline-offset: 1px; }
.meanings { margin-top: 8px; } .meanings dl { margin: 6px 0 0; display: grid; gap: 4px; max-width: 72ch; }
.meanings dt { font-weight: 600; } .meanings dd { margin: 0 0 4px; color: var(--dim); }
summary { cursor: pointer; width: fit-content; } .own { margin-top: 8px; }
canvas { image-rendering: pixelated; display: block; background: #fff; }
canvas.pen { width: 192px; border: 1px solid var(--line); touch-action: none; }

.tiles { display: flex; flex-wrap: wrap; gap: 5px; position: relative; }
.tiles button { padding: 3px; line-height: 1.15; font-size: 11px; background: none; border-color: transparent; }
.tiles button:hover { border-color: var(--line); } .tiles canvas { width: 44px; height: 44px; border-radius: 2px; }
.tiles [aria-checked=true] { border-color: var(--mark); box-shadow: 0 0 0 2px var(--mark); }
.tiles[role=group] canvas { margin-bottom: 4px; }
.tiles.channels, .tiles.kernels { max-height: 262px; overflow-y: auto; padding: 3px; }
.tiles.channels canvas, .tiles.kernels canvas, .tiles.images canvas { outline: 1px solid var(--edge); }
.tiles.channels span, .tiles.kernels span { display: block; white-space: pre-line; color: var(--dim); font-variant-numeric: tabular-nums;
  text-align: center; margin-top: 3px; min-height: 1.15em; }
.tiles.channels span::first-line, .tiles.kernels span::first-line { color: var(--ink); font-weight: 600; }
.tiles.numbers span { margin: 0; } .tiles.numbers span::first-line { font-weight: 400; }
.tiles.numbers button { border-color: var(--edge); padding: 4px 8px; font-variant-numeric: tabular-nums; font-size: 12px; }
.tiles.images button:last-child { display: flex; gap: 4px; align-items: center; }
.tiles.strip { flex-wrap: nowrap; overflow-x: auto; padding: 3px 3px 8px; gap: 12px; align-items: stretch; scrollbar-width: thin; }
.tiles.strip button { flex: none; width: 108px; display: grid; justify-items: center; gap: 4px; position: relative;
  align-content: start; color: var(--dim); }
.tiles.strip span { width: 100%; white-space: pre-line; overflow-wrap: break-word; }
.tiles.strip button span::first-line { color: var(--ink); font-weight: 600; }
.tiles.strip button + button::before { content: "›"; position: absolute; left: -11px; top: 14px; color: var(--dim); font-size: 16px; }
.tiles.strip .pale canvas { visibility: hidden; } .tiles.strip canvas { width: 40px; height: 40px; outline: 1px solid var(--edge); }

.stage { position: relative; width: 100%; max-width: 420px; } .stage canvas { width: 100%; outline: 1px solid var(--line); }
.stage canvas:focus-visible { outline: 3px solid var(--mark); outline-offset: 1px; }
.stage canvas[role=application] { cursor: crosshair; touch-action: manipulation; }
.stage svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none;
  filter: drop-shadow(0 0 1px #fff) drop-shadow(0 0 1px #fff); }
.stage rect { fill: none; stroke: #a3004f; stroke-width: 2px; vector-effect: non-scaling-stroke; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 8px; align-items: center; font-variant-numeric: tabular-nums; }
.legend i { width: 80px; height: 9px; border: 1px solid var(--edge);
  background: linear-gradient(90deg, rgb(33 102 172), #fff, rgb(214 96 4)); }

table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12px; }
.classes table { width: 100%; max-width: 420px; margin-top: 10px; } .classes th, .classes td { padding: 2px 4px; font-weight: 400; }
.classes thead th { color: var(--dim); text-align: right; } .classes th:first-child { text-align: left; min-width: 76px; overflow-wrap: break-word; }
.classes td { text-align: right; white-space: nowrap; } .classes .predicted th, .classes .predicted td { font-weight: 700; }
.classes .track { width: 36%; } .classes i { display: block; height: 10px; background: var(--bar); border-radius: 0 2px 2px 0; }
.classes em { margin-left: 6px; padding: 0 5px; border: 1px solid currentColor; border-radius: 8px; font-style: normal;
  font-weight: 400; font-size: 11px; color: var(--mark); white-space: nowrap; }

.sum { font-variant-numeric: tabular-nums; } .sum .value { font-size: 15px; } .sum strong { white-space: nowrap; }
.grids { display: flex; flex-wrap: wrap; gap: 12px; overflow-x: auto; padding: 2px; }
.curve { display: flex; gap: 8px; align-items: center; }
.grid caption { text-align: left; white-space: nowrap; color: var(--dim); padding: 4px 0; }
.grid th { color: var(--dim); font-weight: 400; font-size: 11px; padding: 0 4px; }
.grid tbody td { border: 1px solid var(--edge); padding: 1px 2px; min-width: calc(var(--wide) + 5px);
  height: 20px; text-align: right; }
.grid input { width: var(--wide); padding: 0; font-size: inherit; line-height: 1.3; color: inherit; background: transparent; border: 0;
  border-radius: 0; text-align: right; }
@container (max-width: 539px) { .grid { font-size: 10.5px; } .grid tbody td { padding: 1px; min-width: calc(var(--wide) + 3px); }
  .grid th { padding: 0 2px; } .panel { padding: 8px; } }
`;
