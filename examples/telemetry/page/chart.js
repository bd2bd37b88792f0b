"use strict";
// One chart: an area over time with a grid, a limit, a second trace and a hair line under the pointer. Plain SVG.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map(step => step * unit).find(top => top >= value);
}

class Chart {
  constructor(card, { series, top, least = 1, text, limit }) {
    Object.assign(this, { series, top, least, text, limit, samples: [], span: 300, gap: 3, at: null });
    this.svg = card.querySelector("svg");
    this.tip = card.querySelector(".tip");
    this.plot = card.querySelector(".plot");
    this.plot.addEventListener("pointermove", event => this.point(event.offsetX));
    this.plot.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  show(samples, span, gap, now) {
    Object.assign(this, { samples, span, gap, now });
    this.draw();
  }

  point(at) {
    this.at = at;
    this.draw();
  }

  x(time) { return (1 - (this.now - time) / this.span) * this.width; }
  y(value) { return this.height * (1 - value / this.high); }

  draw() {
    if (!this.now) return;
    this.width = this.plot.clientWidth;
    this.height = this.plot.clientHeight - 20;
    const highest = Math.max(this.least, ...this.samples.flatMap(sample => this.series.map(key => sample[key])));
    this.high = this.top || ceiling(highest * 1.05);
    this.svg.setAttribute("aria-label", `${this.series.join(", ")}, the last ${this.span / 60} minutes`);
    this.svg.replaceChildren(this.grid(), ...this.traces(), ...this.scale(), ...this.marks());
  }

  grid() {
    const group = element("g", { class: "grid" });
    for (const part of [0, .5, 1]) {
      const y = this.y(part * this.high);
      group.append(element("line", { x1: 0, x2: this.width, y1: y, y2: y }));
    }
    for (const part of [0, .5, 1]) {
      const anchor = ["start", "middle", "end"][part * 2];
      const time = new Date((this.now - (1 - part) * this.span) * 1000);
      const label = part === 1 ? "now" : time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      group.append(element("text", { x: part * this.width, y: this.height + 17, "text-anchor": anchor }, label));
    }
    if (this.limit) {
      const y = this.y(this.limit);
      group.append(element("line", { class: "limit", x1: 0, x2: this.width, y1: y, y2: y }));
    }
    return group;
  }

  scale() {
    return [.5, 1].map(part =>
      element("text", { class: "scale", x: 0, y: this.y(part * this.high) + 13 }, this.text(part * this.high).replace(".0 ", " ")));
  }

  stretches() {
    const stretches = [];
    let last = -Infinity;
    for (const sample of this.samples) {
      if (sample.at < this.now - this.span) continue;
      if (sample.at - last > this.gap) stretches.push([]);
      stretches.at(-1).push(sample);
      last = sample.at;
    }
    return stretches;
  }

  traces() {
    return this.stretches().flatMap(stretch => this.series.flatMap((key, index) => {
      const points = stretch.map(sample => `${this.x(sample.at).toFixed(1)},${this.y(sample[key]).toFixed(1)}`);
      const line = "M" + points.join("L");
      const [from, to] = [stretch[0], stretch.at(-1)].map(sample => this.x(sample.at).toFixed(1));
      const area = element("path", { class: "area", d: `${line}L${to},${this.height}L${from},${this.height}Z` });
      const trace = element("path", { class: index ? "trace second" : "trace", d: line });
      return index ? [trace] : [area, trace];
    }));
  }

  marks() {
    const newest = this.samples.at(-1);
    const chosen = this.at === null ? newest : this.nearest(this.now - (1 - this.at / this.width) * this.span);
    this.tip.hidden = this.at === null || !chosen;
    if (!chosen) return [];
    const x = this.x(chosen.at);
    const dots = this.series.map(key => element("circle", { class: "now", cx: x, cy: this.y(chosen[key]), r: 4 }));
    if (this.at === null) return dots.slice(0, 1);
    this.tip.textContent = [new Date(chosen.at * 1000).toLocaleTimeString(),
      ...this.series.map(key => `${this.series.length > 1 ? key.split("_")[1] + " " : ""}${this.text(chosen[key])}`)].join("  ·  ");
    this.tip.style.left = `${Math.min(Math.max(x - this.tip.offsetWidth / 2, 0), this.width - this.tip.offsetWidth)}px`;
    return [element("line", { class: "hair", x1: x, x2: x, y1: 0, y2: this.height }), ...dots];
  }

  nearest(time) {
    let best = null;
    for (const sample of this.samples) {
      if (!best || Math.abs(sample.at - time) < Math.abs(best.at - time)) best = sample;
    }
    return best;
  }
}
