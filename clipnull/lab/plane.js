// One thing to drag: points and arrows in the plane, names on the globe of all images.
// Python says what follows from the positions; this module draws it and reports where the reader put them.

const set = (node, attributes) => {
  for (const [key, value] of Object.entries(attributes)) if (value != null) node.setAttribute(key, value)
  return node
}
const svg = (tag, attributes = {}) => set(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes)
const html = (tag, name, ...inner) => {
  const made = document.createElement(tag)
  made.className = name
  made.append(...inner)
  return made
}
const css = colour => (colour === "ink" ? "var(--ink)" : colour)
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }

async function render({ model, el }) {
  const channel = await model.widget_manager.get_model(model.get("channel"))
  const { kind, points, rules, dots, extent, circle, size, bars: [low, high] } = model.get("fixed")
  const ball = kind === "globe", span = ball ? 2 : extent[1] - extent[0], stages = [], pictures = new Map()
  const tip = html("div", "tip"), bars = html("div", "bars"), side = html("div", "side", bars)
  const caption = html("div", "caption"), tray = html("div", "kept"), root = html("div", "clipnull-plane", side, tray, caption)
  const pen = document.createElement("canvas").getContext("2d")
  let drawn, at, kept, turn = model.get("turn"), frame = 0, moved = false, turned = false, held = -1, near = -1, pressed = -1
  set(tip, { role: "status" })
  set(caption, { "aria-live": "polite" })
  const later = () => { frame ||= requestAnimationFrame(draw) }
  const styled = name => getComputedStyle(root).getPropertyValue(name).trim()
  const rgb = colour => { pen.fillStyle = colour; return [1, 3, 5].map(k => parseInt(pen.fillStyle.slice(k, k + 2), 16)) }

  // --- pictures are asked for when they are first needed
  const source = i => { if (!pictures.has(i)) { pictures.set(i, "data:,"); model.send({ thumb: i }) } return pictures.get(i) }
  const thumb = i => set(html("img", ""), { alt: "", src: source(i), "data-thumb": i })
  const receive = ({ thumb, src }) => {
    pictures.set(thumb, src)
    for (const img of root.querySelectorAll(`[data-thumb="${thumb}"]`)) set(img, { [img.tagName === "image" ? "href" : "src"]: src })
  }
  function tell(stage, [x, y], name, picture) {
    tip.replaceChildren(...(picture == null ? [] : [thumb(picture)]), name)
    stage.box.append(tip)
    tip.style.left = `${clamp(x < stage.camera.width / 2 ? x + 16 : x - 132, 0, stage.camera.width - 120)}px`
    tip.style.top = `${clamp(y - 60, 0, stage.camera.height - 130)}px`
  }

  function report(changes) {
    for (const [name, value] of Object.entries({ ...changes, report: model.get("report") + 1 })) model.set(name, value)
    model.save_changes()
  }

  // --- moving: one report a frame at most; ipywidgets holds back the next until the kernel has answered
  function move(i, v) {
    const { on_circle, within } = points[i]
    if (ball || on_circle) at[i] = unit(v)
    else at[i] = within ? inside(within, v) : v.map((x, j) => clamp(x, extent[2 * j], extent[2 * j + 1]))
    moved = true
    later()
  }
  function spin(dx, dy) {
    turn = [turn[0] - dx, clamp(turn[1] - dy, -1.5, 1.5)]
    turned = true
    later()
  }
  function key(i, e) {
    const d = ARROWS[e.key], { camera } = stages[0], step = (e.shiftKey ? 0.05 : 0.01) * span
    if (!d || e.ctrlKey || e.metaKey || e.altKey) return
    e.preventDefault()
    if (ball && (i < 0 || e.shiftKey)) return spin(-0.09 * d[0], -0.09 * d[1])
    move(i, (ball ? camera.back(1.75 * step * d[0], 1.75 * step * d[1], 0) : d.map(x => step * x)).map((x, j) => at[i][j] + x))
    if (camera.to(at[i])[2] < 0.1) spin(-1.75 * step * d[0], -1.75 * step * d[1])
  }
  function draggable(target, i, start, go) {
    let last = null
    target.addEventListener("pointerdown", e => {
      if (e.button) return
      last = e
      target.setPointerCapture(e.pointerId)
      target.focus({ preventScroll: true })
      start()
      e.preventDefault()
    })
    // a finger on it drags it, not the page; touch-action is not kept to inside a drawing
    target.addEventListener("touchstart", e => e.preventDefault(), { passive: false })
    target.addEventListener("pointermove", e => { if (last) { go(e, e.clientX - last.clientX, e.clientY - last.clientY); last = e } })
    for (const end of ["pointerup", "pointercancel"]) target.addEventListener(end, () => { last = null; held = -1 })
    target.addEventListener("keydown", e => key(i, e))
    return target
  }
  const within = (stage, e) => { const box = stage.svg.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top] }
  function handle(stage, { name, colour, shape, picture, pictured }, i) {
    const r = picture ? 21 : 9, g = svg("g", { class: "handle", tabindex: 0, role: "slider", "aria-label": name, "aria-roledescription": "point to drag" })
    const around = { "stroke-width": picture ? 2.5 : 1.2, stroke: picture ? css(colour) : "var(--ink)", fill: picture ? "#fff" : css(colour) }
    g.append(svg("circle", { class: "hit", r: r + 10 }), svg("circle", { class: "ring", r: r + 5.5 }),
      svg("path", { d: SHAPES[shape](r), fill: "none", stroke: "var(--paper)", "stroke-width": 4 }), svg("path", { d: SHAPES[shape](r), ...around }))
    if (picture) g.append(svg("image", { x: -15, y: -15, width: 30, height: 30, href: source(i), "data-thumb": i }))
    draggable(g, i, () => { held = i; tip.replaceChildren() }, e => move(i, stage.camera.from(...within(stage, e))))
    g.addEventListener("focus", () => {
      const [x, y, z] = at[i]
      // one behind the globe is brought to the front
      if (ball && stage.camera.to(at[i])[2] < 0) { turn = [Math.atan2(y, x), 0.6 * Math.asin(clamp(z, -1, 1))]; spin(0, 0) }
    })
    if (pictured) g.addEventListener("pointerenter", () => { if (held < 0) tell(stage, stage.camera.to(at[i]), name, i) })
    g.addEventListener("pointerleave", () => tip.replaceChildren())
    return g
  }

  // --- many small dots: pointer or arrow keys say what they are, a click or Enter keeps one
  function keep(k) {
    kept = kept.includes(k) ? kept.filter(x => x !== k) : [...kept, k]
    report({ kept })
    later()
  }
  function look(stage, k) {
    if (k === near) return
    near = k
    if (k < 0) tip.replaceChildren()
    else tell(stage, stage.camera.to(drawn.dots[k]), dots.names[k], dots.pictured ? points.length + k : null)
    later()
  }
  function sheet(stage) {
    const label = `${dots.names.length} ${dots.what}: arrow keys go from one to the next, Enter keeps it`
    const rect = svg("rect", { class: "dots", width: "100%", height: "100%", tabindex: 0, role: "application", "aria-label": label })
    const find = ([x, y], cost) => {
      const costs = drawn.dots.map((p, k) => { const q = stage.camera.to(p); return cost(q[0] - x, q[1] - y, k) }), least = Math.min(...costs)
      return [costs.indexOf(least), least]
    }
    const under = e => { const [k, far] = find(within(stage, e), (x, y) => x * x + y * y); return far < 196 ? k : -1 }
    rect.addEventListener("pointermove", e => look(stage, under(e)))
    for (const end of ["pointerleave", "blur"]) rect.addEventListener(end, () => look(stage, -1))
    // pressing may scroll the page: what counts is where the pointer was
    rect.addEventListener("pointerdown", e => { look(stage, pressed = under(e)) })
    rect.addEventListener("click", () => { if (pressed >= 0) keep(pressed) })
    rect.addEventListener("keydown", e => {
      const d = ARROWS[e.key], { width, height, to } = stage.camera
      if (!d && !(near >= 0 && ["Enter", " "].includes(e.key))) return
      e.preventDefault()
      if (!d) return keep(near)
      // the nearest one ahead; aside counts more
      const [k, far] = find(near < 0 ? [width / 2, height / 2] : to(drawn.dots[near]), (x, y, k) => {
        const ahead = x * d[0] - y * d[1]
        return k === near || ahead <= 0 ? Infinity : ahead + 2.5 * Math.abs(x * d[1] + y * d[0])
      })
      if (far < Infinity) look(stage, k)
    })
    return rect
  }

  // --- drawing
  function build(k) {
    const stage = { box: html("div", "stage"), canvas: document.createElement("canvas"), svg: svg("svg", { role: "group" }), memory: new Map() }
    for (const layer of ["back", "front", "words"]) stage[layer] = svg("g")
    stage.handles = []
    points.forEach((p, i) => { if (p.drag && !k) stage.handles[i] = handle(stage, p, i) })
    stage.sphere = svg("circle", { class: "ball", tabindex: 0, role: "application", "aria-label": "globe: arrow keys turn it" })
    if (ball) draggable(stage.sphere, -1, () => {}, (e, dx, dy) => spin(dx / stage.camera.scale, -dy / stage.camera.scale))
    stage.svg.append(stage.back, ball ? stage.sphere : "", dots ? sheet(stage) : "", stage.front, ...stage.handles.filter(g => g), stage.words)
    stage.box.append(html("div", "head"), stage.canvas, stage.svg)
    return stage
  }
  function drawStage(stage, k) {
    const width = Math.max(140, Math.min(size, root.clientWidth - 8)), camera = stage.camera = ball ? globe(width, turn) : flat(width, extent)
    const { height, to } = camera, place = p => `${p[0]},${p[1]}`, names = k ? drawn.after : drawn.names ?? (ball ? rules.rows.map(i => at[i]) : null)
    const ratio = Math.min(window.devicePixelRatio || 1, 2), paper = styled("--paper"), ground = [], shapes = [], labels = [], taken = []
    const sign = JSON.stringify([names, drawn.candidates, width, ratio, turn, paper])
    if (sign !== stage.sign || dots) {
      stage.sign = sign
      Object.assign(stage.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) })
      stage.canvas.style.cssText = `width:${width}px;height:${height}px`
      if (names) paint(stage.canvas, camera, names, drawn.candidates, rules, rules.colours.map(rgb), rgb(paper), ball)
      if (dots) scatter(stage.canvas.getContext("2d"), ratio, to)
    }
    const say = (key, text, p, r, bold, struck) => {
      pen.font = `${bold ? "600 14px" : "13px"} ${getComputedStyle(root).fontFamily}`
      if (text) labels.push({ key, text, x: p[0], y: p[1], r, bold, struck, w: pen.measureText(text).width + 4, behind: p[2] < 0 })
    }
    // a label beside a line, not on it
    const avoid = (a, b) => {
      const far = Math.hypot(b[0] - a[0], b[1] - a[1])
      for (let t = 0; t < far; t += 6) { const [x, y] = [0, 1].map(j => a[j] + t / far * (b[j] - a[j])); taken.push([x - 3, y - 3, x + 3, y + 3]) }
    }
    const draw = (d, { colour, width, dash }, faint) => shapes.push(svg("path", { d, class: "line", stroke: css(colour),
      "stroke-width": width, "stroke-dasharray": dash ? "5 4" : null, "stroke-opacity": faint ? 0.3 : null }))
    const arrow = (a, b, line, short) => {
      const d = unit(minus(b, a).slice(0, 2)), far = Math.hypot(b[0] - a[0], b[1] - a[1]) - short, [neck, tip] = [far - 8, far].map(t => [a[0] + t * d[0], a[1] + t * d[1]])
      if (far < 10) return
      avoid(a, b)
      draw(`M${place(a)}L${neck}`, line)
      shapes.push(svg("path", { d: "M0,0l-12,-5.5v11z", fill: css(line.colour), transform: `translate(${tip})rotate(${Math.atan2(d[1], d[0]) * 180 / Math.PI})` }))
    }
    const marks = drawn.points.filter(p => p.stage === k), own = points.map((p, i) => ({ ...p, at: at[i] })).filter(p => p.drag && !k)
    set(stage.svg, { width, height, viewBox: `0 0 ${width} ${height}`, "aria-label": drawn.alt })
    set(stage.sphere, { cx: width / 2, cy: width / 2, r: camera.scale })
    if (!ball) {
      const [x, y] = to([0, 0])
      ground.push(svg("path", { class: "faint", d: `M0,${y}H${width}M${x},0V${height}` }))
      if (circle) ground.push(svg("circle", { class: "faint", cx: x, cy: y, r: camera.scale, "stroke-width": 1.5 }))
      for (const p of [...own, ...marks]) if (p.arrow) arrow(to([0, 0]), to(p.at), { colour: p.colour, width: 2.5 }, p.picture ? 22 : 8)
    }
    for (const { points, colour } of drawn.areas) {
      ground.push(svg("path", { class: "area", d: `M${points.map(to).map(place).join("L")}z`, fill: css(colour), stroke: css(colour) }))
    }
    for (const [i, line] of drawn.lines.entries()) {
      const [a, b] = line.path.map(to)
      if (line.arrow) arrow(a, b, line, 0)
      else {
        avoid(a, b)
        draw(`M${place(a)}L${place(b)}`, line, line.width > 5)
      }
      say(`line ${i}`, line.label, to(line.spot), 3)
    }
    for (const [i, { name, at, colour, shape }] of marks.entries()) {
      if (ball && Math.hypot(...at) < 1e-6) continue
      const q = to(ball ? unit(at) : at)
      shapes.push(svg("path", { class: "mark", d: SHAPES[shape](6.5), transform: `translate(${place(q)})`, stroke: css(colour), opacity: q[2] < 0 ? 0.4 : 1 }))
      taken.push([q[0] - 8, q[1] - 8, q[0] + 8, q[1] + 8])
      say(`mark ${i}`, name, q, 8)
    }
    for (const i of dots ? kept : []) say(`kept ${i}`, dots.names[i], to(drawn.dots[i]), 8)
    stage.handles.forEach((g, i) => {
      const q = to(at[i]), r = points[i].picture ? 22 : 11, said = at[i].map((x, j) => `${"xyz"[j]} ${x.toFixed(2)}`).join(", ")
      set(g, { transform: `translate(${place(q)})`, "aria-valuenow": at[i][0].toFixed(2), "aria-valuetext": said })
      Object.assign(g.style, { opacity: q[2] < 0 ? 0.4 : 1, pointerEvents: q[2] < 0 ? "none" : "" })
      taken.push([q[0] - r, q[1] - r, q[0] + r, q[1] + r])
      // a name may be struck off the list
      const struck = !(drawn.candidates[rules.rows.indexOf(i)] ?? true)
      g.classList.toggle("struck", struck)
      say(`point ${i}`, points[i].name, q, r, true, struck)
    })
    settle(labels.sort((a, b) => !!b.bold - !!a.bold), taken, camera, stage.memory)
    stage.back.replaceChildren(...ground)
    stage.front.replaceChildren(...shapes)
    stage.words.replaceChildren(...labels.map(({ text, at: [x, y], bold, behind, struck }) => {
      const words = svg("text", { x, y, "text-anchor": "middle", class: bold ? "name" : "", opacity: behind ? 0.75 : null })
      words.textContent = text
      if (!struck) return words
      const off = svg("g", { class: "off" }) // the line through a name is in its style, without the name's halo
      off.append(words)
      return off
    }))
    stage.box.firstChild.textContent = drawn.heads[k]
  }
  function scatter(ctx, ratio, to) {
    const list = new Set(kept), ink = styled("--ink")
    drawn.dots.forEach((p, k) => {
      const [x, y] = to(p), [colour, shape] = dots.palette[dots.group[k]], chosen = list.has(k) || k === near, path = new Path2D(SHAPES[shape](chosen ? 7 : 4))
      ctx.setTransform(ratio, 0, 0, ratio, ratio * x, ratio * y)
      Object.assign(ctx, { globalAlpha: chosen ? 1 : 0.75, fillStyle: colour === "ink" ? ink : colour, strokeStyle: ink, lineWidth: 2 })
      ctx.fill(path)
      if (chosen) ctx.stroke(path)
    })
  }
  function drawBars(list) {
    const percent = x => 100 * clamp((x - low) / (high - low), 0, 1), zero = clamp(0, low, high)
    const place = (name, style) => { const part = html("div", name); Object.assign(part.style, style); return part }
    bars.replaceChildren(...list.flatMap(({ name, value, before, colour, text }) => {
      const [from, to] = [Math.min(zero, value), Math.max(zero, value)].map(percent), track = html("div", "track")
      track.append(place("fill", { left: `${from}%`, width: `${to - from}%`, background: css(colour) }))
      if (low < 0) track.append(place("zero", { left: `${percent(0)}%` }))
      if (before != null) track.append(set(place("before", { left: `${percent(before)}%` }), { title: "before" }))
      return [html("div", "label", name), track, html("div", "value", text)]
    }))
    side.style.display = list.length || dots?.legend ? "" : "none"
  }
  function draw() {
    frame = 0
    if (moved) report({ at: at.map(v => [...v]), turn })
    else if (turned) { model.set("turn", turn); model.save_changes() }
    moved = turned = false
    const count = drawn.after ? 2 : 1
    while (stages.length < count) { stages.push(build(stages.length)); side.before(stages.at(-1).box) }
    stages.forEach((stage, k) => { stage.box.hidden = k >= count; if (k < count) drawStage(stage, k) })
    drawBars(drawn.bars)
    if (caption.textContent !== drawn.caption) caption.textContent = drawn.caption
    // only when others are kept: a button that is replaced between press and release is not clicked
    if (tray.dataset.kept !== (tray.dataset.kept = kept.join())) tray.replaceChildren(...kept.map(i => {
      const button = set(html("button", "", ...(dots.pictured ? [thumb(points.length + i)] : []), `${dots.names[i]} ×`), { "aria-label": `let go of ${dots.names[i]}` })
      button.addEventListener("click", () => keep(i))
      return button
    }))
  }
  function hear() {
    drawn = JSON.parse(channel.get("value"))
    // an answer to an older report moves nothing
    if (!at || (drawn.report === model.get("report") && !moved)) {
      at = drawn.at.map((v, i) => (i === held ? at[i] : v))
      kept = drawn.kept
    }
    later()
  }
  if (dots?.legend) side.append(html("div", "legend", ...dots.palette.map(([colour, shape, name]) => {
    const key = svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14" })
    key.append(svg("path", { d: SHAPES[shape](5), fill: css(colour) }))
    return html("span", "", key, name)
  })))
  el.replaceChildren(root)
  hear()
  channel.on("change:value", hear)
  channel.on("msg:custom", receive)
  const wide = new ResizeObserver(later), theme = new MutationObserver(later)
  wide.observe(root)
  theme.observe(document.body, { attributes: true })
  return () => {
    wide.disconnect()
    theme.disconnect()
    cancelAnimationFrame(frame)
    channel.off("change:value", hear)
    channel.off("msg:custom", receive)
  }
}

export default { render }
