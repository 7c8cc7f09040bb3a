"use strict";
// What is shown follows the address: #l3h1m2/effective_rank is mode 2 of head 1 of layer 3, with the map coloured by
// the effective rank. Every click and key only changes the address. Names and texts from the data are only ever put in
// as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { numbers, layers, heads, samples, evidence, vocabulary } = data;
  const find = (id) => document.getElementById(id);
  const table = document.querySelector("#map table");
  const cells = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1));
  const dense = Math.max(...heads.map((line) => line.length)) > 16;
  const SVG = "http://www.w3.org/2000/svg";
  let now = { layer: null, head: null, mode: null, number: 0 };

  // ---- elements and numbers

  function fill(node, attributes, content) {
    for (const [name, value] of Object.entries(attributes ?? {})) if (value !== null) node.setAttribute(name, value);
    node.append(...content);
    return node;
  }
  const make = (name, attributes, ...content) => fill(document.createElement(name), attributes, content);
  const draw = (name, attributes, ...content) => fill(document.createElementNS(SVG, name), attributes, content);
  const word = (id, text) => make("a", { class: "word", href: `#word-${id}` }, text);

  const proper = (text) => (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212"));
  const signed = (v) => (Number(v.toFixed(2)) > 0 ? "+" : "") + proper(v.toFixed(2));
  const plain = (v) => proper(Math.abs(v) >= 100 ? v.toFixed(0) : String(Number(v.toPrecision(3))));
  const percent = (v) => `${proper((100 * v).toFixed(0))}\u202f%`;
  const written = { signed, plain, percent };
  const text = (value, how) => (value === null || value === undefined ? "–" : written[how](value));
  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  const level = (map, i) => (i >= 0 && i < map.length ? data.alphabet.indexOf(map[i]) / (data.alphabet.length - 1) : 0);

  // ---- the address

  function read() {
    const found = /^#?(?:l(\d+)h(\d+)(?:m(\d+))?)?(?:\/(\w+))?$/.exec(location.hash);
    if (!found) return null; // a link to a word
    const [layer, head, mode] = found.slice(1, 4).map((part) => (part === undefined ? null : Number(part)));
    const row = layer === null ? undefined : heads[layer]?.[head];
    return {
      layer: row ? layer : null,
      head: row ? head : null,
      mode: row && mode !== null && mode < row.sigma.length ? mode : null,
      number: Math.max(0, numbers.findIndex((number) => number.key === found[4])),
    };
  }

  function address({ layer, head, mode, number }) {
    const place = layer === null ? "" : `l${layer}h${head}${mode === null ? "" : `m${mode}`}`;
    return `#${place}${number ? `/${numbers[number].key}` : ""}`;
  }

  function go(change, focus) {
    history.pushState(null, "", address({ ...now, ...change }));
    update();
    focus?.()?.focus();
  }

  function update() {
    const next = read();
    if (!next) return;
    const before = now;
    now = next;
    if (before.number !== now.number) paint();
    mark();
    if (before.layer !== now.layer || before.head !== now.head) showHead();
    else if (before.mode !== now.mode) drawSpectrum();
    if (before.layer !== now.layer || before.head !== now.head || before.mode !== now.mode) showMode();
    drawCurve();
  }

  // ---- moving by keyboard: one element of a group is in the order of tabs, arrows go to the others

  function rove(lines, start) {
    const all = lines.flat();
    const enter = (node) => all.forEach((each) => each.setAttribute("tabindex", each === node ? 0 : -1));
    if (start ?? all[0]) enter(start ?? all[0]);
    lines.forEach((line, i) =>
      line.forEach((node, j) => {
        node.addEventListener("focus", () => enter(node));
        node.addEventListener("keydown", (event) => {
          const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
          let target = null;
          if (event.key in steps) {
            const [down, right] = steps[event.key];
            target = lines[i + down]?.[j + right];
          } else if (event.key === "Home") target = event.ctrlKey ? lines[0][0] : line.length > 1 ? line[0] : lines[0][0];
          else if (event.key === "End") target = event.ctrlKey || line.length === 1 ? lines.at(-1).at(-1) : line.at(-1);
          else return;
          event.preventDefault();
          if (target) target.focus();
        });
      }),
    );
  }

  // ---- the map

  const inBand = (row) => numbers[now.number].key === "weighted_cosine" && Math.abs(row.values[now.number]) <= row.band;
  const named = (l, h) => `layer ${l}, head ${h}`;

  function said(l, h) {
    const number = numbers[now.number];
    const row = heads[l][h];
    return `${named(l, h)}: ${number.name} ${text(row.values[now.number], number.how)}${inBand(row) ? ", in the chance band" : ""}`;
  }

  function paint() {
    const number = numbers[now.number];
    const ramp = data.ramps[number.ramp];
    cells.forEach((line, l) =>
      line.forEach((cell, h) => {
        const row = heads[l][h];
        if (!row) return;
        const value = row.values[now.number];
        const place = value === null ? 0 : Math.min(1, Math.max(0, (value - number.low) / (number.high - number.low)));
        cell.style.cssText = value === null ? "" : ramp.cells[Math.round(place * (ramp.cells.length - 1))];
        cell.textContent = dense ? "" : text(value, number.how);
        cell.classList.toggle("hatched", inBand(row));
        cell.setAttribute("aria-label", said(l, h));
        cell.title = said(l, h);
      }),
    );
    find("number").value = number.key;
    find("number-word").href = `#word-${number.word}`;
    find("scale").style.cssText = ramp.scale;
    find("scale-low").textContent = text(number.low, number.how);
    find("scale-high").textContent = text(number.high, number.how);
    find("hatched").hidden = number.key !== "weighted_cosine";
    find("curve-title").textContent = `${number.name[0].toUpperCase()}${number.name.slice(1)} by layer: each head a dot, the mean a line`;
  }

  function mark() {
    cells.flat().forEach((cell) => cell.removeAttribute("aria-selected"));
    if (now.layer !== null) cells[now.layer][now.head].setAttribute("aria-selected", "true");
  }

  function prepareMap() {
    table.setAttribute("role", "grid");
    table.classList.toggle("dense", dense);
    table.closest(".scroll").removeAttribute("tabindex"); // its cells take the focus
    cells.forEach((line, l) =>
      line.forEach((cell, h) => {
        if (!heads[l][h]) return;
        const open = () => go({ layer: l, head: h, mode: null }, () => find("title-head"));
        cell.addEventListener("click", open);
        cell.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          open();
        });
        for (const name of ["focus", "pointerenter"])
          cell.addEventListener(name, () => { find("pointed").textContent = said(l, h); });
      }),
    );
    const lines = cells.map((line, l) => line.filter((_, h) => heads[l][h]));
    rove(lines, now.layer === null ? undefined : cells[now.layer][now.head]);
  }

  // ---- charts

  function frame(box, height, name) {
    const width = Math.max(270, box.clientWidth);
    const svg = draw("svg", { class: "plot", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name });
    box.replaceChildren(svg);
    return { svg, width };
  }

  function drawCurve() {
    const number = numbers[now.number];
    const [low, high] = number.axis;
    const height = 230, left = 48, right = 10, top = 10, bottom = 40;
    const { svg, width } = frame(find("curve"), height, `${number.name} of each attention head, by layer`);
    const x = (l) => left + 8 + (width - left - right - 16) * (layers.length > 1 ? l / (layers.length - 1) : 0.5);
    const y = (v) => top + ((height - top - bottom) * (high - v)) / (high - low);
    for (const [tick, label] of number.ticks) {
      svg.append(draw("line", { class: tick === 0 ? "zero" : "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
      svg.append(draw("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, label));
    }
    const every = Math.max(1, Math.ceil(layers.length / Math.max(2, Math.floor((width - left) / 34))));
    layers.forEach((_, l) => {
      if (l % every === 0) svg.append(draw("text", { class: "tick", x: x(l), y: height - bottom + 17, "text-anchor": "middle" }, String(l)));
    });
    svg.append(draw("text", { class: "axis", x: (left + width) / 2, y: height - 5, "text-anchor": "middle" }, `layer; up: ${number.name}${number.unit}`));
    if (number.key === "weighted_cosine") {
      const bands = heads.map((line) => Math.max(...line.map((row) => row.band ?? 0)));
      const edge = (sign) => bands.map((band, l) => `${x(l)},${y(Math.max(low, Math.min(high, sign * band)))}`);
      svg.append(draw("polygon", { class: "chance", points: [...edge(1), ...edge(-1).reverse()].join(" ") }));
    }
    const means = [];
    heads.forEach((line, l) => {
      const known = line.map((row) => row.values[now.number]).filter((value) => value !== null);
      if (known.length) means.push(`${x(l)},${y(known.reduce((sum, value) => sum + value, 0) / known.length)}`);
      line.forEach((row, h) => {
        const value = row.values[now.number];
        if (value === null) return;
        const shown = l === now.layer && h === now.head;
        svg.append(draw("circle", { class: shown ? "one shown" : "one", cx: x(l), cy: y(value), r: shown ? 5 : 2.5 }, draw("title", {}, said(l, h))));
      });
    });
    svg.append(draw("polyline", { class: "curve", fill: "none", points: means.join(" ") }));
    svg.append(...svg.querySelectorAll(".shown"));
  }

  function drawSpectrum() {
    if (now.layer === null) return;
    const row = heads[now.layer][now.head];
    const height = 220, left = 48, right = 40, top = 12, bottom = 40, n = row.sigma.length;
    const { svg, width } = frame(find("spectrum"), height, `sigma and cosine of ${count(n, "mode")} of ${named(now.layer, now.head)}; the list below has them as numbers`);
    const step = (width - left - right) / n;
    const x = (m) => left + step * (m + 0.5);
    const most = row.sigma[0] || 1;
    const bar = (v) => top + (height - top - bottom) * (1 - v / most);
    const dot = (v) => top + ((height - top - bottom) * (1 - v)) / 2;
    for (const [share, cosine] of [[0, -1], [0.5, 0], [1, 1]]) {
      svg.append(draw("line", { class: cosine === 0 ? "zero" : "grid", x1: left, x2: width - right, y1: dot(cosine), y2: dot(cosine) }));
      svg.append(draw("text", { class: "tick", x: left - 6, y: dot(cosine) + 4, "text-anchor": "end" }, plain(Number((share * most).toPrecision(2)))));
      svg.append(draw("text", { class: "tick", x: width - right + 6, y: dot(cosine) + 4 }, proper(String(cosine))));
    }
    if (row.chance !== null) svg.append(draw("rect", { class: "chance", x: left, width: width - left - right, y: dot(row.chance), height: Math.max(1, dot(-row.chance) - dot(row.chance)) }));
    row.sigma.forEach((sigma, m) => {
      const wide = Math.max(1, 0.7 * step);
      svg.append(draw("rect", { class: m === now.mode ? "sigma shown" : "sigma", x: x(m) - wide / 2, width: wide, y: bar(sigma), height: Math.max(0.5, bar(0) - bar(sigma)) }));
    });
    for (const [first, last] of subspaces(row))
      if (last > first) svg.append(draw("line", { class: "joint", x1: x(first) - 0.35 * step, x2: x(last) + 0.35 * step, y1: bar(0) + 4, y2: bar(0) + 4 }));
    row.cosine.forEach((cosine, m) => svg.append(draw("circle", { class: "cosine", cx: x(m), cy: dot(cosine), r: Math.min(4, Math.max(2, 0.35 * step)) })));
    const every = Math.max(1, Math.ceil(n / Math.max(2, Math.floor((width - left - right) / 34))));
    row.sigma.forEach((_, m) => {
      if (m % every === 0) svg.append(draw("text", { class: "tick", x: x(m), y: height - bottom + 21, "text-anchor": "middle" }, String(m)));
      const hit = draw("rect", { class: "hit", x: x(m) - step / 2, width: step, y: top, height: height - top - bottom }, draw("title", {}, describe(row, m)));
      hit.addEventListener("click", () => go({ mode: m }, () => find("title-mode")));
      svg.append(hit);
    });
    svg.append(draw("text", { class: "axis", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "mode"));
  }

  // ---- one attention head

  /** First and last mode of each subspace. */
  function subspaces(row) {
    const found = [];
    row.of.forEach((first, m) => (first === m ? found.push([m, m]) : (found.at(-1)[1] = m)));
    return found;
  }

  const describe = (row, m) => `mode ${m}: sigma ${plain(row.sigma[m])}, cosine ${text(row.cosine[m], "signed")}`;

  function together(row, first, last) {
    let sum = 0, weight = 0;
    for (let m = first; m <= last; m++) {
      if (row.cosine[m] === undefined) return null;
      sum += row.sigma[m] * row.cosine[m];
      weight += row.sigma[m];
    }
    return weight ? sum / weight : null;
  }

  function fact(label, value, more) {
    return make("div", {}, make("dt", {}, label), make("dd", {}, value, ...(more ? [make("span", { class: "what" }, more)] : [])));
  }

  function showHead() {
    const panel = find("attention-head");
    panel.hidden = now.layer === null;
    if (panel.hidden) return;
    const row = heads[now.layer][now.head];
    const layer = layers[now.layer];
    find("title-head").textContent = `Layer ${now.layer}, head ${now.head}`;
    find("head-about").textContent = layer.name + (layer.about ? `; modes: ${layer.about}` : "");
    const bands = [row.band === null ? null : `chance: ±${plain(row.band)} by permutation`, row.closed === null ? null : `±${plain(row.closed)} in closed form`];
    find("head-facts").replaceChildren(
      ...numbers
        .map((number, i) => [number, row.values[i]])
        .filter(([, value]) => value !== null)
        .map(([number, value]) => fact(word(number.word, number.name), text(value, number.how), number.key === "weighted_cosine" ? bands.filter(Boolean).join(", ") : null)),
    );
    find("head-serves").textContent = row.serves;
    find("subspace-key").hidden = subspaces(row).every(([first, last]) => first === last);
    drawSpectrum();
    listModes(row);
  }

  function listModes(row) {
    const body = make("tbody");
    const links = [];
    for (const [first, last] of subspaces(row)) {
      const joined = last > first;
      if (joined) {
        const cosine = together(row, first, last);
        const told = `modes ${first} to ${last}: one subspace${cosine === null ? "" : `, cosine ${signed(cosine)} together`}; each alone is arbitrary`;
        body.append(make("tr", { class: "together" }, make("th", { colspan: 4, scope: "rowgroup" }, told)));
      }
      for (let m = first; m <= last; m++) {
        const link = make("a", { href: address({ ...now, mode: m }), id: `mode-${m}`, "aria-label": describe(row, m) }, `mode ${m}`);
        link.addEventListener("click", (event) => {
          event.preventDefault();
          go({ mode: m }, () => find("title-mode"));
        });
        links.push([link]);
        const inside = row.cosine[m] !== undefined && Math.abs(row.cosine[m]) <= row.chance;
        body.append(
          make("tr", { class: joined ? "joined" : null, id: `mode-row-${m}` },
            make("th", { scope: "row" }, link),
            make("td", {}, plain(row.sigma[m])),
            make("td", {}, row.total ? percent(row.sigma[m] / row.total) : "–"),
            make("td", { class: inside ? "inside" : null }, text(row.cosine[m], "signed"))),
        );
      }
    }
    const names = [["mode", "mode"], ["sigma", "sigma"], ["share", "sigma"], ["cosine", "cosine"]];
    const top = make("thead", {}, make("tr", {}, ...names.map(([name, id]) => make("th", { scope: "col" }, word(id, name)))));
    find("modes").replaceChildren(make("caption", { class: "unseen" }, "Modes, strongest first"), top, body);
    if (row.all > row.sigma.length)
      body.append(make("tr", { class: "together" }, make("th", { colspan: 4, scope: "rowgroup" }, `${count(row.all - row.sigma.length, "weaker mode")} left out for size`)));
    rove(links, links[now.mode ?? 0]?.[0]);
  }

  // ---- one mode

  function showMode() {
    find("modes")?.querySelectorAll("tr[aria-current]").forEach((line) => line.removeAttribute("aria-current"));
    const body = find("mode-body");
    if (now.layer === null) return;
    if (now.mode === null) {
      find("title-mode").textContent = "Choose a mode";
      body.replaceChildren(make("p", {}, "Its evidence comes here: what excites its query side and its key side."));
      return;
    }
    const row = heads[now.layer][now.head];
    find(`mode-row-${now.mode}`).setAttribute("aria-current", "true");
    find("title-mode").textContent = `Layer ${now.layer}, head ${now.head}, mode ${now.mode}`;
    const [first, last] = subspaces(row).find((pair) => pair[0] <= now.mode && now.mode <= pair[1]);
    const facts = [
      fact(word("sigma", "sigma"), plain(row.sigma[now.mode]), row.total ? `${percent(row.sigma[now.mode] / row.total)} of all` : null),
      fact(word("cosine", "cosine"), text(row.cosine[now.mode], "signed"), row.chance === null ? null : `chance: ±${plain(row.chance)}`),
    ];
    if (last > first) facts.push(fact(word("subspace", "subspace"), `modes ${first} to ${last}`, "this mode alone is arbitrary"));
    body.replaceChildren(make("dl", { class: "facts" }, ...facts), ...words(), ...examples());
  }

  function words() {
    const found = vocabulary[now.layer]?.[now.head]?.[now.mode];
    if (!found) return [];
    const sides = [["query+", "asks +"], ["key+", "answers +"], ["query-", "asks −"], ["key-", "answers −"]];
    const list = make("dl", { class: "vocabulary" });
    for (const [side, name] of sides)
      if (found[side]) list.append(make("dt", {}, name), make("dd", {}, ...found[side].map(([token, cosine]) => make("i", { title: `cosine ${signed(cosine)}` }, token))));
    return [make("h4", {}, "Words whose embedding points along it most"), list];
  }

  const ORDERS = {
    both: "both sides in the same text",
    query: "the query side alone: what asks",
    key: "the key side alone: what is looked for",
  };

  function examples() {
    if (data.kind === null) return [make("p", { class: "small" }, "No images or texts were looked at, so there is no evidence here.")];
    if (!data.evidenced.includes(now.layer)) return [make("p", { class: "small" }, "No evidence was gathered for this layer.")];
    const found = evidence[now.layer]?.[now.head]?.[now.mode];
    if (!found) return [make("p", { class: "small" }, "This page keeps no evidence for this mode; at its top stands what was left out, and why.")];
    const legend = make("p", { class: "key" },
      make("span", {}, make("span", { class: "swatch query" }), " query side: asks"),
      make("span", {}, make("span", { class: "swatch keymap" }), " key side: is looked for"),
      make("span", {}, make("span", { class: data.kind === "images" ? "swatch both" : "swatch both paper" }), " both"));
    const shown = [make("p", { class: "small" }, data.what), legend];
    found.forEach((signs, by) => {
      const both = signs.map((list, sign) => {
        const title = make("h4", {}, word("sign", sign ? "−" : "+"), data.by.length > 1 ? ` ${ORDERS[data.by[by]] ?? data.by[by]}` : sign ? " both sides negative" : " both sides positive");
        const cards = list.map(data.kind === "images" ? imageCard : textCard);
        const none = make("p", { class: "small" }, "None excites it with this sign, or none was kept.");
        return make("div", { class: "examples" }, title, list.length ? make("div", { class: data.kind === "images" ? "cards evidence" : "cards texts" }, ...cards) : none);
      });
      shown.push(...(data.kind === "images" ? both : [make("div", { class: "signs" }, ...both)]));
    });
    return shown;
  }

  function imageCard([sample, score, , query, key]) {
    const { name, picture } = samples[sample];
    const canvas = make("canvas", { width: 256, height: 256, role: "img", "aria-label": `${name}: query side in red, key side in cyan` });
    const image = new Image();
    image.src = picture;
    image.decode().then(() => overlay(canvas, image, query, key));
    return make("div", { class: "card" }, canvas, make("p", { class: "name", title: name }, name), make("p", {}, `score ${text(score, "plain")}`));
  }

  /** Red where the mode asks, cyan where it is answered, white for both, over a dark grey picture. */
  function overlay(canvas, image, query, key) {
    const scale = 256 / Math.max(image.naturalWidth, image.naturalHeight);
    const width = (canvas.width = Math.round(scale * image.naturalWidth));
    const height = (canvas.height = Math.round(scale * image.naturalHeight));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, width, height);
    const photo = pen.getImageData(0, 0, width, height);
    const [rows, columns] = data.grid;
    const patches = new ImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) patches.data.set([255 * level(query, i), 255 * level(key, i), 0, 255], 4 * i);
    const small = make("canvas", { width: columns, height: rows });
    small.getContext("2d").putImageData(patches, 0, 0);
    pen.drawImage(small, 0, 0, width, height); // smooth between the centres of patches
    const maps = pen.getImageData(0, 0, width, height).data;
    for (let i = 0; i < maps.length; i += 4) {
      const [red, green, blue] = photo.data.subarray(i, i + 3);
      const grey = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
      const base = 0.06 + 0.34 * grey, gain = 0.2 + 0.42 * grey;
      const cyan = 255 * (base + (gain * maps[i + 1]) / 255);
      photo.data.set([255 * (base + (gain * maps[i]) / 255), cyan, cyan], i);
    }
    pen.putImageData(photo, 0, 0);
  }

  function textCard([sample, score, start, query, key]) {
    const { name, tokens } = samples[sample];
    const stop = Math.min(tokens.length, start + Math.max(query.length, key.length));
    const quote = make("blockquote", { class: "quotation" });
    const [before, after] = [tokens.slice(0, start), tokens.slice(stop)].map((part) => part.join("")); // a word may go on
    if (before.trim()) quote.append("…");
    for (let i = start; i < stop; i++) {
      const bare = tokens[i].trimStart();
      const part = make("span", { title: `asks ${percent(level(query, i - start))}, answers ${percent(level(key, i - start))} of the strongest here` }, bare);
      part.style.setProperty("--q", level(query, i - start));
      part.style.setProperty("--k", level(key, i - start));
      quote.append(tokens[i].slice(0, tokens[i].length - bare.length), part);
    }
    if (after.trim()) quote.append(/^\s/.test(after) ? " …" : "…");
    return make("div", { class: "card" }, quote, make("p", { title: name }, `${name}, score ${text(score, "plain")}`));
  }

  // ---- the page

  document.documentElement.classList.add("scripted");
  find("modes-box").classList.toggle("short", data.kind === "texts"); // as high as the words beside it: texts go below
  find("number").addEventListener("change", (event) => go({ number: numbers.findIndex((number) => number.key === event.target.value) }));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || now.layer === null || event.target.tagName === "SELECT") return;
    const { layer, head, mode } = now;
    if (mode !== null) go({ mode: null }, () => find(`mode-${mode}`));
    else go({ layer: null, head: null }, () => cells[layer][head]);
  });
  window.addEventListener("hashchange", update);
  window.addEventListener("popstate", update);
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (width === innerWidth) return;
    width = innerWidth;
    drawCurve();
    drawSpectrum();
  });
  paint();
  drawCurve();
  update();
  prepareMap();
})();
