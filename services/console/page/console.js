"use strict";
// Asks the API once a second and draws what it says. Text goes in as text, never as markup.

const WIDTH = 170, HEIGHT = 74;
const COLUMNS = [5, 245, 485, 725, 965], ROWS = [20, 165, 310];
const OUTSIDE = { producers: [0, 0], applications: [4, 0], operators: [0, 2] };
const PLACES = {
  ingestion: [1, 0], features: [2, 0], serving: [3, 0],
  clock: [0, 1], drift: [1, 1], monitoring: [2, 1], audit: [4, 1],
  training: [1, 2], registry: [2, 2], deployment: [3, 2], console: [4, 2],
};
// What flows: an SVG path, the topic's name and where it is written.
const FLOWS = [
  ["M175 57H245", "events", 210, 50], ["M415 57H485", "validated", 450, 50], ["M655 57H725", "features", 690, 50],
  ["M895 57H965", "predictions", 930, 50],
  ["M370 94V130H530V165", "validated", 450, 125], ["M770 94V202H655", "predictions", 715, 195],
  ["M485 202H415", "profiles", 450, 195], ["M330 239V310", "retrain", 354, 278],
  ["M415 347H485", "models", 450, 340], ["M655 347H725", "aliases", 690, 340],
  ["M850 310V94", "deployments", 890, 268], ["M175 347H245", "commands", 210, 340],
  ["M175 202H200V108H270V94", "ticks", 220, 152],
];

let chosen = decodeURIComponent(location.hash.slice(1));

const svg = (tag, attributes, text) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const html = (tag, text, kind) => {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
const at = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const instant = (micros) => micros === null ? "–" : new Date(micros / 1000).toISOString().slice(0, 16).replace("T", " ");
const corner = ([column, row]) => [COLUMNS[column], ROWS[row]];

function box(name, place, kind, lines) {
  const [x, y] = corner(place);
  const group = svg("g", { class: kind, "data-service": name });
  group.append(svg("rect", { class: `box ${kind}`, x, y, width: WIDTH, height: HEIGHT, rx: 8 }));
  group.append(svg("text", { class: "name", x: x + 14, y: y + (lines.length ? 26 : 42) }, name));
  lines.forEach((line, n) => group.append(svg("text", { class: n ? "small lag" : "small", x: x + 14, y: y + 46 + 17 * n }, line)));
  if (kind !== "outside") group.append(svg("circle", { class: "dot", cx: x + WIDTH - 16, cy: y + 20, r: 5 }));
  return group;
}

function service(told, spare) {
  const health = { true: "healthy", false: "failed", null: "unknown" }[told.healthy];
  if (!told.stage) return box(told.name, PLACES[told.name] ?? spare, health, [health === "failed" ? "not healthy" : health]);
  const behind = `${told.ticks_behind} ticks, ${told.seconds_behind.toFixed(1)} s behind`;
  const kind = told.ticks_behind > 1 || told.seconds_behind > 1 ? `${health} behind` : health;
  return box(told.name, PLACES[told.name] ?? spare, kind, [`open tick ${count(told.open_tick)}`, behind]);
}

function drawTopology(pipeline) {
  const marker = svg("marker", { id: "head", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  marker.append(svg("path", { class: "head", d: "M0 0L8 4L0 8z" }));
  const drawing = [marker];
  for (const [path, topic, x, y] of FLOWS) {
    drawing.push(svg("path", { class: "flow", d: path, "marker-end": "url(#head)" }), svg("text", { class: "topic", x, y }, topic));
  }
  for (const [name, place] of Object.entries(OUTSIDE)) drawing.push(box(name, place, "outside", []));
  let extra = 0; // services that the drawing does not know go below it
  for (const told of pipeline.services) {
    const spare = told.name in PLACES ? undefined : [extra % 5, 3 + Math.floor(extra++ / 5)];
    while (spare && ROWS.length <= spare[1]) ROWS.push(ROWS.at(-1) + 110);
    drawing.push(service(told, spare));
  }
  const height = extra ? ROWS[3 + Math.floor((extra - 1) / 5)] + HEIGHT + 20 : 415;
  at("topology").setAttribute("viewBox", `0 0 1150 ${height}`);
  at("topology").replaceChildren(...drawing);
}

function drawFacts(p) {
  const facts = {
    champion: p.champion ?? "the prior", challenger: p.challenger ?? "–", tick: count(p.tick), "simulated date": instant(p.time),
    events: count(p.events), rejected: count(p.rejected), quarantined: count(p.quarantined),
    predictions: count(p.predictions), outcomes: count(p.outcomes),
    "records a second": count(p.records_per_second), behind: `${p.lag.ticks} ticks, ${p.lag.seconds.toFixed(1)} s`,
  };
  at("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const fact = document.createElement("div");
    fact.append(html("dt", name), html("dd", value));
    return fact;
  }));
}

function row(...cells) {
  const line = document.createElement("tr");
  line.append(...cells);
  return line;
}

const decision = (d) => row(html("td", d.tick < 0 ? "–" : count(d.tick)), html("td", d.kind, d.kind), html("td", d.text));
const event = (e) => row(html("td", instant(e.event_time)), html("td", e.entity_key ?? "–"), html("td", e.record, e.record), html("td", e.text));

function drawPipelines(names) {
  at("pipelines").replaceChildren(...names.map((name) => {
    const button = html("button", name);
    button.setAttribute("aria-pressed", String(name === chosen));
    button.onclick = () => { chosen = location.hash = name; refresh(); };
    return button;
  }));
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh() {
  const { pipelines } = await ask("api/status");
  const pipeline = pipelines.find((p) => p.name === chosen) ?? pipelines[0];
  if (!pipeline) return "no pipeline is registered yet";
  chosen = pipeline.name;
  drawPipelines(pipelines.map((p) => p.name));
  drawFacts(pipeline);
  drawTopology(pipeline);
  const path = `api/pipelines/${encodeURIComponent(chosen)}`;
  const [decisions, events] = await Promise.all([ask(`${path}/decisions?limit=15`), ask(`${path}/events?limit=5`)]);
  at("decisions").replaceChildren(...decisions.map(decision));
  at("events").replaceChildren(...events.map(event));
  return `as of ${new Date().toLocaleTimeString("en-GB")}`;
}

async function poll() {
  try {
    at("state").textContent = await refresh();
    at("state").className = "";
  } catch (error) { // the console may be restarting: say so, and ask again
    at("state").textContent = `no answer (${error.message})`;
    at("state").className = "lost";
  }
  setTimeout(poll, document.hidden ? 5000 : 1000);
}

poll();
