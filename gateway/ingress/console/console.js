"use strict";
// The console: a page over /admin. Whatever comes from the gateway is untrusted text and is only ever set as text.
// The admin key lives in this tab's sessionStorage and goes out in one header, never in an address.

const PAGE = 30;
const WAITING = "awaiting_review,needs_review";
const state = { language: localStorage.getItem("ocho.language") || (navigator.language.startsWith("ko") ? "ko" : "en"), view: "", wanted: 0 };
const main = document.getElementById("main");
const dialog = document.getElementById("dialog");

function t(name, values = {}) {
  const text = WORDS[state.language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

// An element with attributes and children; strings become text nodes.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== false));
  return made;
}

const button = (name, onclick, kind = "") => el("button", { type: "button", class: `button ${kind}`.trim(), onclick }, t(name));

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function call(method, path, body) {
  let reply;
  try {
    reply = await fetch(path, {
      method, cache: "no-store", credentials: "omit", redirect: "error",
      headers: {
        authorization: `Bearer ${sessionStorage.getItem("ocho.key") ?? ""}`,
        "x-ocho-reviewer": encodeURIComponent(sessionStorage.getItem("ocho.name") ?? ""),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch { throw new Refused(0, t("no_gateway")); }
  const said = await reply.json().catch(() => ({}));
  if (reply.ok) return said;
  const code = said.error?.code;
  if (code === "admin_key_not_configured") throw new Refused(403, t("no_admin"));
  if (reply.status === 401 || reply.status === 403) throw new Refused(reply.status, t("wrong_key"));
  throw new Refused(reply.status, said.error?.message ?? `HTTP ${reply.status}`);
}

function say(text) {
  const said = document.getElementById("said");
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, 5000);
}

// --- the frame

function dress() {
  document.documentElement.lang = state.language;
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  document.getElementById("language").textContent = t("other_language");
  document.getElementById("language").lang = state.language === "ko" ? "en" : "ko";
  document.title = `${t("enter_title")} · Ocho`;
}

function open(view) {
  state.view = view;
  const inside = Boolean(sessionStorage.getItem("ocho.key"));
  document.getElementById("tabs").hidden = document.getElementById("out").hidden = !inside;
  if (!inside) return door();
  if (location.hash !== `#${view}`) history.replaceState(null, "", `#${view}`);
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.dataset.view === view;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  main.setAttribute("role", "tabpanel");
  main.setAttribute("aria-labelledby", `tab-${view}`);
  return show({ overview, review, answers, history: trail }[view]);
}

// Show what ``make`` makes, unless another view was opened meanwhile.
async function show(make) {
  const ticket = ++state.wanted;
  main.replaceChildren(el("p", { class: "empty" }, t("loading")));
  try {
    const made = await make();
    if (ticket === state.wanted) main.replaceChildren(...made);
  } catch (error) {
    if (ticket !== state.wanted) return;
    if (error.status === 401 || error.status === 403) { leave(error.message); return; }
    main.replaceChildren(el("p", { class: "empty problem", role: "alert" }, error.message));
  }
}

function leave(problem = "") {
  sessionStorage.removeItem("ocho.key");
  state.wanted++;
  open("overview");
  if (problem) main.querySelector("form").append(el("p", { class: "problem", role: "alert" }, problem));
}

function door() {
  const key = el("input", { type: "password", name: "key", autocomplete: "off", required: true });
  const name = el("input", { name: "you", maxlength: 64, autocomplete: "off", value: sessionStorage.getItem("ocho.name") ?? "" });
  const enter = async (event) => {
    event.preventDefault();
    sessionStorage.setItem("ocho.key", key.value.trim());
    sessionStorage.setItem("ocho.name", name.value.trim());
    try { await waiting(); } catch (error) { leave(error.message); return; }
    open(VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview");
  };
  main.removeAttribute("role");
  main.replaceChildren(el("section", { class: "door" }, el("form", { onsubmit: enter },
    el("h2", {}, t("enter_title")), el("label", {}, t("key"), key), el("label", {}, t("you"), name),
    el("p", {}, t("enter_hint")), el("button", { class: "main", type: "submit" }, t("enter")))));
  key.focus();
}

// The number beside "To review".
async function waiting() {
  const { counts } = await call("GET", "/admin/answers?limit=1");
  const number = counts.awaiting_review + counts.needs_review;
  const badge = document.getElementById("waiting");
  badge.textContent = number;
  badge.hidden = !number;
  return counts;
}

// --- overview

const percent = (share) => share == null ? "–" : `${(100 * share).toFixed(share > 0.995 || share < 0.1 ? 2 : 1)} %`;

function tile(name, value, hint, kind = "") {
  return el("section", { class: `tile ${kind}` }, el("p", { class: "name" }, t(name)), el("p", { class: "value" }, value), el("p", { class: "hint" }, hint));
}

function bars(name, counts) {
  const rows = Object.entries(counts).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  const total = rows.reduce((sum, [, n]) => sum + n, 0);
  return el("section", { class: "panel" }, el("h2", {}, t(name)),
    rows.length ? el("dl", { class: "bars" }, rows.map(([label, n]) => [
      el("dt", {}, t(label)), el("meter", { min: 0, max: 1, value: n / total, "aria-label": `${t(label)} ${percent(n / total)}` }),
      el("dd", {}, n.toLocaleString(state.language))])) : el("p", { class: "small" }, t("nothing")));
}

async function overview() {
  const [seen, counts] = await Promise.all([call("GET", "/admin/overview"), waiting()]);
  const open_ones = counts.awaiting_review + counts.needs_review;
  const wrong = seen.wrong_hits;
  const grade = seen.within_5s == null ? "" : seen.within_5s >= 0.99 ? "good" : seen.within_5s >= 0.9 ? "warn" : "bad";
  return [
    el("div", { class: "tiles" },
      tile("within", percent(seen.within_5s), t("within_hint", { n: seen.requests.toLocaleString(state.language) }), grade),
      tile("hits", percent(seen.hit_share), t("hits_hint")),
      tile("wrong", wrong.audited ? percent(wrong.upper95) : "–", wrong.audited ? t("wrong_hint", { n: wrong.audited, m: wrong.contradicted }) : t("wrong_none")),
      tile("waiting", String(open_ones), t("waiting_hint", { n: counts.awaiting_review, m: counts.needs_review }), open_ones ? "warn" : "good"),
      tile("served", seen.reviewed_served.toLocaleString(state.language), t("served_hint")),
      tile("agreement", percent(seen.agreement.share), t("agreement_hint", { n: seen.agreement.compared }))),
    el("div", { class: "panels" }, bars("by_cache", seen.cache), bars("by_source", seen.served_by), bars("by_status", counts), bars("findings", seen.findings)),
  ];
}

// --- lists of answers

async function list(query, nothing) {
  const box = el("div");
  let after = "";
  const more = el("div", { class: "more" });
  const load = async () => {
    const page = await call("GET", `/admin/answers?${new URLSearchParams({ limit: PAGE, ...query, ...(after ? { after } : {}) })}`);
    box.append(...page.data.map(card));
    if (!box.children.length) box.append(el("p", { class: "empty" }, t(nothing)));
    after = page.last_id ?? "";
    more.replaceChildren(...(page.has_more ? [button("more", () => load().catch((error) => say(error.message)))] : []));
    return page;
  };
  const first = await load();
  return [el("p", { class: "small" }, t("found_n", { n: first.found })), box, more];
}

async function review() {
  await waiting();
  return [el("h2", {}, t("review")), ...(await list({ status: WAITING }, "none_waiting"))];
}

async function answers() {
  const found = el("div");
  const text = el("input", { type: "search", name: "text" });
  const status = el("select", { name: "status" }, ["", "pinned", "approved", "rejected", "needs_review", "awaiting_review"].map((s) => el("option", { value: s }, t(s || "all"))));
  const search = async (event) => {
    event?.preventDefault();
    const query = Object.fromEntries([["text", text.value.trim()], ["status", status.value]].filter(([, value]) => value));
    try { found.replaceChildren(...(await list(query, "none"))); } catch (error) { say(error.message); }
  };
  status.addEventListener("change", search);
  await search();
  return [el("form", { class: "filters", onsubmit: search, role: "search" },
    el("label", { class: "grow" }, t("search"), text), el("label", {}, t("status"), status),
    el("button", { class: "button", type: "submit" }, t("search_do")), button("new_answer", () => pinNew(), "main")), found];
}

const when = (seconds) => new Date(seconds * 1000).toLocaleString(state.language === "ko" ? "ko-KR" : "en-GB", { dateStyle: "medium", timeStyle: "short" });
const badge = (status) => el("span", { class: `badge ${status}` }, t(status));

function textBox(name, text, kind, missing, ...more) {
  return el("div", { class: `text ${kind}` }, el("span", { class: "name" }, name), el("p", {}, text),
    missing?.length ? el("span", { class: "missing" }, t("missing", { facts: missing.join(", ") })) : null, ...more);
}

function card(answer) {
  const several = Object.keys(answer.answers).length > 1;
  const waits = ["awaiting_review", "needs_review"].includes(answer.status);
  const act = (name, ask, kind) => button(name, () => ask(answer), kind);
  const made = el("article", { class: "card", "data-id": answer.id },
    el("p", { class: "line" }, badge(answer.status), answer.found ? el("span", {}, t(answer.found)) : null,
      answer.seen > 1 ? el("span", {}, t("seen", { n: answer.seen })) : null,
      el("span", {}, `${answer.model} · ${answer.tenant}`), el("span", {}, t("changed", { when: when(answer.updated_at), who: answer.author }))),
    el("h3", {}, answer.question),
    el("div", { class: "texts" },
      Object.entries(answer.answers).map(([language, text]) => textBox(several ? t("answer_in", { language: t(`language_${language}`) }) : t("answer"), text, "", answer.unsupported[language])),
      answer.other ? textBox(t("other"), answer.other, "other", answer.unsupported.other, el("div", { class: "acts" }, act("use_other", (a) => decide(a, "approve", { which: "other" })))) : null,
      answer.rejected.map((one) => textBox(t("rejected_text"), one.text, "rejected"))),
    fact("wordings", answer.wordings.join(" / ")), fact("documents", Object.keys(answer.documents).join(", ")),
    fact("instructions", answer.system === "*" ? t("any") : answer.system), fact("note", answer.note),
    el("div", { class: "acts" },
      waits && Object.keys(answer.answers).length ? act(answer.status === "needs_review" ? "approve_again" : "approve", (a) => decide(a, "approve", {}), "main") : null,
      act("edit", edit), Object.keys(answer.answers).length || answer.other ? act("reject", reject, "bad") : null,
      act("see_history", (a) => pastOf(a)), act("delete", remove)));
  return made;
}

const fact = (name, value) => value ? el("p", { class: "small" }, `${t(name)}: ${value}`) : null;

// --- what a reviewer does

// Put what the gateway now holds in the place of the card; nothing else moves under the reviewer's hands.
function renew(answer) {
  const old = main.querySelector(`[data-id="${CSS.escape(answer.id)}"]`);
  const made = card(answer);
  if (old) old.replaceWith(made); else open(state.view);
  made.querySelector("button")?.focus();
  say(t("done"));
  waiting().catch(() => {});
}

async function decide(answer, verb, body) {
  try { renew(await call("POST", `/admin/answers/${answer.id}/${verb}`, { revision: answer.revision, ...body })); }
  catch (error) { say(error.message); }
}

// A dialog with a form; ``save`` sends it and returns the record, or throws what is then shown in the dialog.
function ask(title, fields, save, verb = "save", kind = "main") {
  const problem = el("p", { class: "problem", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try { const kept = await save(); dialog.close(); if (kept) renew(kept); } catch (error) { problem.textContent = error.message; }
  };
  dialog.replaceChildren(el("form", { onsubmit: submit }, el("h2", { id: "dialog-title" }, title), ...fields, problem,
    el("div", { class: "end" }, button("cancel", () => dialog.close()), save ? el("button", { type: "submit", class: kind }, t(verb)) : null)));
  dialog.showModal();
  dialog.querySelector("textarea, input, select")?.focus();
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const area = (label, value = "", more = {}) => { const box = el("textarea", more); box.value = value; return [box, el("label", {}, label, box)]; };

// One text area per language, and a select that adds one.
function languages(texts) {
  const boxes = new Map();
  const place = el("div");
  const add = (language, text = "") => {
    const [box, label] = area(t("answer_in", { language: t(`language_${language}`) }), text);
    boxes.set(language, box);
    place.append(label);
  };
  for (const [language, text] of Object.entries(texts)) add(language, text);
  const select = el("select", {}, el("option", { value: "" }, "–"), ["ko", "en", "ja", "zh", "cyrillic", "arabic", "other"].map((l) => el("option", { value: l }, t(`language_${l}`))));
  select.addEventListener("change", () => { if (select.value && !boxes.has(select.value)) add(select.value); select.value = ""; });
  return [() => Object.fromEntries([...boxes].map(([language, box]) => [language, box.value.trim()])), [place, el("label", {}, t("add_language"), select)]];
}

const spoken = (text) => /[\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e]/.test(text) ? "ko" : /[\u3040-\u30ff]/.test(text) ? "ja" : /[\u4e00-\u9fff]/.test(text) ? "zh" : /[A-Za-z]/.test(text) ? "en" : "other";

function edit(answer) {
  const texts = Object.keys(answer.answers).length ? answer.answers : { [spoken(answer.question)]: answer.other };
  const [read, fields] = languages(texts);
  const [wordings, wordingsLabel] = area(t("wordings_hint"), answer.wordings.join("\n"));
  const documents = Object.entries(answer.documents).filter(([, version]) => !version.startsWith("~")).map(([name]) => name);
  const [named, namedLabel] = area(t("documents_hint"), documents.join("\n"));
  const note = el("input", { maxlength: 2000 });
  ask(answer.question, [...fields, wordingsLabel, namedLabel, el("label", {}, t("note"), note)], async () => {
    const body = { answers: read(), wordings: lines(wordings.value), note: note.value.trim(), revision: answer.revision };
    if (lines(named.value).join("\n") !== documents.join("\n")) body.documents = lines(named.value);
    return call("POST", `/admin/answers/${answer.id}`, body);
  });
}

async function pinNew() {
  let models = [];
  try { models = (await call("GET", "/admin/overview")).models; } catch (error) { say(error.message); return; }
  const model = el("select", {}, models.map((name) => el("option", {}, name)));
  const question = el("input", { required: true, maxlength: 400 });
  const [answer, answerLabel] = area(t("answer"), "", { required: true });
  const [wordings, wordingsLabel] = area(t("wordings_hint"));
  const [documents, documentsLabel] = area(t("documents_hint"));
  const tenant = el("input"), system = el("input"), note = el("input", { maxlength: 2000 });
  ask(t("new_answer"), [el("label", {}, t("model"), model), el("label", {}, t("question"), question), answerLabel, wordingsLabel, documentsLabel,
    el("label", {}, t("tenant"), tenant), el("label", {}, t("system"), system), el("label", {}, t("note"), note)], () => call("POST", "/admin/answers", {
    model: model.value, question: question.value, answer: answer.value.trim(), wordings: lines(wordings.value), tenant: tenant.value.trim(), system: system.value,
    note: note.value.trim(), ...(lines(documents.value).length ? { documents: lines(documents.value) } : {}) }), "pin");
  question.focus();
}

function reject(answer) {
  const note = el("input", { maxlength: 2000 });
  const can = [...(Object.keys(answer.answers).length ? ["answer"] : []), ...(answer.other ? ["other"] : [])];
  if (can.length === 2) can.push("both");
  const which = el("select", {}, can.map((name) => el("option", { value: name }, t(`which_${name}`))));
  ask(answer.question, [...(can.length > 1 ? [el("label", {}, t("which"), which)] : []), el("label", {}, t("note"), note)],
    () => call("POST", `/admin/answers/${answer.id}/reject`, { which: which.value, note: note.value.trim(), revision: answer.revision }), "reject", "bad");
}

function remove(answer) {
  ask(answer.question, [el("p", {}, t("delete_sure"))], async () => {
    await call("DELETE", `/admin/answers/${answer.id}`);
    main.querySelector(`[data-id="${CSS.escape(answer.id)}"]`)?.remove();
    say(t("deleted"));
    waiting().catch(() => {});
    main.focus();
  }, "delete", "bad");
}

// --- history

const brief = (value) => value == null || (typeof value === "object" && !Object.keys(value).length) || value === "" ? t("nothing") : typeof value === "string" ? t(value) : Array.isArray(value) ? value.map(brief).join(" / ") : value.text ?? Object.entries(value).map(([k, v]) => `${k}: ${v}`).join(", ");

function past(changes, withAnswer) {
  const what = (change) => el("td", {}, withAnswer ? el("p", {}, change.question || change.answer) : null,
    Object.entries(change.changed).map(([name, [before, after]]) => el("p", { class: "small" }, `${t({ texts: "answer", rejected: "rejected_text" }[name] ?? name)}: ${t("from_to", { a: brief(before), b: brief(after) })}`)));
  return el("table", {}, el("thead", {}, el("tr", {}, ["when", "who", "did", "what"].map((name) => el("th", { scope: "col" }, t(name))))),
    el("tbody", {}, changes.map((change) => el("tr", {}, el("td", { class: "time" }, when(change.at)), el("td", {}, change.who), el("td", {}, t(change.action)), what(change)))));
}

async function trail() {
  const { data } = await call("GET", "/admin/answers/history?limit=200");
  return [el("h2", {}, t("history")), data.length ? past(data, true) : el("p", { class: "empty" }, t("nothing"))];
}

async function pastOf(answer) {
  try {
    const { data } = await call("GET", `/admin/answers/history?answer=${answer.id}`);
    ask(answer.question, [past(data, false)], null);
    dialog.querySelector("button").focus();
  } catch (error) { say(error.message); }
}

// --- begin

const VIEWS = ["overview", "review", "answers", "history"];
const tabs = document.getElementById("tabs");
tabs.addEventListener("click", (event) => { const tab = event.target.closest("[role=tab]"); if (tab) open(tab.dataset.view); });
tabs.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = VIEWS[(VIEWS.indexOf(state.view) + step + VIEWS.length) % VIEWS.length];
  open(next);
  document.getElementById(`tab-${next}`).focus();
});
document.getElementById("language").addEventListener("click", () => {
  state.language = state.language === "ko" ? "en" : "ko";
  localStorage.setItem("ocho.language", state.language);
  dress();
  open(state.view);
});
document.getElementById("out").addEventListener("click", () => leave());
addEventListener("hashchange", () => { const view = location.hash.slice(1); if (VIEWS.includes(view) && view !== state.view) open(view); });
dress();
open(VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview");
