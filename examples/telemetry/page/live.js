"use strict";
// The page: asks for the history once, then follows the live stream. The stream reconnects by itself when its actor was restarted.

const get = id => document.getElementById(id);
const percent = value => `${value.toFixed(1)} %`;
const UNITS = ["B", "kB", "MB", "GB", "TB"];

function bytes(value) {
  let unit = 0;
  while (value >= 999.5 && unit < 4) { value /= 1000; unit++; }
  return `${value.toFixed(unit && value < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}
const rate = value => `${bytes(value)}/s`;

function ago(seconds) {
  const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [size, name] = steps.find(([size]) => seconds >= size) || [1, "s"];
  return `${Math.max(0, Math.floor(seconds / size))} ${name}`;
}

const FIGURES = {
  cpu: { title: "CPU", series: ["cpu"], top: 100, text: percent,
    value: now => percent(now.cpu), note: () => [`${state.host.cores} cores`, `mean ${percent(mean("cpu"))}`] },
  memory: { title: "Memory", series: ["memory"], top: 100, text: percent,
    value: now => percent(now.memory), note: now => [`${bytes(now.memory / 100 * state.host.memory)} of ${bytes(state.host.memory)}`] },
  disk: { title: "Disk", series: ["disk_write", "disk_read"], least: 50e3, text: rate,
    value: now => rate(now.disk_read + now.disk_write), marks: now => [["written", now.disk_write], ["read", now.disk_read]],
    note: now => [`${percent(now.disk)} full`] },
  network: { title: "Network", series: ["net_in", "net_out"], least: 10e3, text: rate,
    value: now => rate(now.net_in + now.net_out), marks: now => [["in", now.net_in], ["out", now.net_out]], note: () => [] },
};

const state = { host: null, rules: [], samples: [], span: 300, every: 0, loaded: 0, alerts: "", generations: {} };
const cards = {};

function mean(key) {
  const values = state.samples.map(sample => sample[key]);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// -- figures and charts
function build() {
  for (const [name, figure] of Object.entries(FIGURES)) {
    const card = get("figure").content.firstElementChild.cloneNode(true);
    card.dataset.figure = name;
    card.style.setProperty("--hue", `var(--${name})`);
    card.querySelector("h2").textContent = figure.title;
    get("figures").append(card);
    const rule = state.rules.find(rule => rule.metric === name && figure.top);
    cards[name] = { card, chart: new Chart(card, { ...figure, limit: rule && rule.above }) };
  }
}

function note(figure, now) {
  const marks = (figure.marks ? figure.marks(now) : []).map(([name, value], index) => {
    const span = document.createElement("span");
    span.className = index ? "second" : "first";
    span.append(document.createElement("i"), `${name} ${rate(value)}`);
    return span;
  });
  const words = figure.note(now).map(text => Object.assign(document.createElement("span"), { textContent: text }));
  return [...words, ...marks];
}

function show() {
  const now = Date.now() / 1000 - state.skew;
  const newest = state.latest;
  for (const [name, { card, chart }] of Object.entries(cards)) {
    chart.show(state.samples, state.span, Math.max(3.5, state.every * 3), now);
    if (!newest) continue;
    const [number, unit] = FIGURES[name].value(newest).split(" ");
    const small = Object.assign(document.createElement("small"), { textContent: unit });
    card.querySelector(".value").replaceChildren(number, small);
    card.querySelector(".note").replaceChildren(...note(FIGURES[name], newest));
  }
}

async function load() {
  const history = await ask(`/api/history?seconds=${state.span}`);
  Object.assign(state, { samples: history.samples, every: history.every, loaded: Date.now() });
  state.latest ||= history.samples.at(-1);
}

function take(sample) {
  state.latest = sample;
  if (state.every) return Date.now() - state.loaded > state.every * 1000 ? load() : null;
  state.samples.push(sample);
  while (state.samples[0].at < sample.at - state.span - 5) state.samples.shift();
}

// -- the tree
function row(actor) {
  const item = get("actor").content.firstElementChild.cloneNode(true);
  item.dataset.actor = actor.name;
  item.querySelector("b").textContent = actor.name;
  item.querySelector(".flavour").textContent = item.querySelector(".flavour").dataset.flavour = actor.flavour;
  item.querySelector("button").setAttribute("aria-label", `Crash ${actor.name}`);
  item.querySelector("button").addEventListener("click", () => fetch(`/api/crash/${actor.name}`, { method: "POST" }));
  get("tree").append(item);
  return item;
}

function tree(actors) {
  for (const actor of actors) {
    const item = document.querySelector(`[data-actor="${actor.name}"]`) || row(actor);
    item.dataset.state = actor.state;
    const up = actor.since ? ` ${ago(Date.now() / 1000 - state.skew - actor.since)}` : "";
    item.querySelector(".state").textContent = actor.state === "running" ? `up${up}` : actor.state;
    item.querySelector(".last").textContent = actor.last || "";
    const generation = item.querySelector(".generation");
    const risen = actor.generation > (state.generations[actor.name] ?? Infinity);
    state.generations[actor.name] = actor.generation;
    generation.textContent = `gen ${actor.generation}`;
    generation.classList.toggle("new", risen);
  }
}

// -- alerts
async function alerts(raised) {
  const key = JSON.stringify(raised);
  if (key === state.alerts) return;
  state.alerts = key;
  const { alerts } = await ask("/api/alerts?last=30");
  const up = raised.map(alert => `${alert.metric} ${alert.at}`);
  get("alerts").replaceChildren(...alerts.map(alert => alertRow(alert, up.includes(`${alert.metric} ${alert.at}`))));
  if (!alerts.length) get("alerts").append(Object.assign(document.createElement("li"), { className: "none", textContent: "None so far." }));
}

function alertRow(alert, now) {
  const item = document.createElement("li");
  item.dataset.state = alert.state;
  if (now) item.dataset.now = "";
  const verb = alert.state === "raised" ? "above" : "back under";
  const text = Object.assign(document.createElement("span"), {
    textContent: `${FIGURES[alert.metric].title} ${verb} ${alert.above} %, at ${percent(alert.mean)}` });
  const when = new Date(alert.at * 1000);
  const today = when.toDateString() === new Date().toDateString();
  item.append(document.createElement("i"), text, Object.assign(document.createElement("time"), {
    dateTime: when.toISOString(), textContent: today ? when.toLocaleTimeString() : when.toLocaleString() }));
  return item;
}

// -- the stream
function link(name, text) {
  get("link").dataset.state = name;
  get("link").querySelector("span").textContent = text;
}

function follow() {
  const stream = new EventSource("/api/live");
  stream.onerror = () => link("lost", "reconnecting");
  stream.onmessage = async event => {
    const live = JSON.parse(event.data);
    link(live.sample ? "live" : "waiting", live.sample ? "live" : "waiting for a sample");
    state.skew = Date.now() / 1000 - live.at;
    if (live.sample) await take(live.sample);
    tree(live.tree);
    show();
    await alerts(live.raised).catch(() => { state.alerts = ""; });
  };
}

function describe() {
  const { host, rules } = state;
  get("host").textContent = document.title = host.name;
  get("about").textContent = [host.system, `${host.cores} cores`, `${bytes(host.memory)} memory`,
    `up ${ago(Date.now() / 1000 - host.boot)}`].join("  ·  ");
  get("rules").textContent = rules.length
    ? rules.map(rule => `${FIGURES[rule.metric].title} over ${rule.above} % for ${rule.over} s`).join("  ·  ") : "There are no rules.";
}

get("range").addEventListener("click", async event => {
  const button = event.target.closest("button");
  if (!button) return;
  for (const other of get("range").children) other.setAttribute("aria-pressed", String(other === button));
  state.span = Number(button.dataset.seconds);
  await load();
  show();
});
get("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

async function start() {
  try {
    Object.assign(state, { skew: 0 }, await ask("/api/state"));
    await load();
  } catch (error) {
    link("lost", "not there yet");
    return setTimeout(start, 1000);
  }
  describe();
  build();
  tree(state.tree);
  show();
  follow();
}
start();
