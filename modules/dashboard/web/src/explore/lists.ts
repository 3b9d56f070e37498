// The two lists: endpoints that match a search, page by page, and the counters of
// those that are chosen.
import { computed, effect, signal } from "@preact/signals";
import { call, isAbort } from "../api";
import { toQuery } from "./search";
import { view } from "./state";

export interface Endpoint {
  endpoint: string;
  id: number;
  /** When it reported last, in Unix seconds; 0 never. */
  ts: number;
}

export interface Counter {
  counter: string;
  step: number;
  type: string;
  /** How many of the chosen endpoints have it. */
  hosts: number;
}

const pageSize = 500;
const typing = 150; // ms of silence after which a search is sent
const listPace = 10; // seconds between two looks for new names while the view is live

// --- endpoints ------------------------------------------------------------------------

/** Rows of the search, by position; those never looked at are holes. */
export const endpoints = signal<(Endpoint | undefined)[]>([]);
export const endpointTotal = signal(0);
export const endpointsBusy = signal(false);
export const endpointsError = signal<unknown>(null);
export const endpointsMissing = signal<string[]>([]);
/** How many endpoints there are at all; -1 while unknown. */
export const everyEndpoint = signal(-1);
/** The search that the rows answer; null before the first answer. */
export const endpointsOf = signal<string | null>(null);

let search: AbortController | null = null;
let pending = new Map<number, Promise<void>>();

/** Searches anew, from the first page on; the old rows stay until it is there. */
export async function searchEndpoints(): Promise<void> {
  search?.abort();
  const mine = (search = new AbortController());
  const query = toQuery(view.peek().q);
  endpointsBusy.value = true;
  try {
    const a = await call<Endpoint[]>(`/graph/endpoint?q=${encodeURIComponent(query)}&limit=${pageSize}`, { signal: mine.signal });
    pending = new Map();
    const rows: (Endpoint | undefined)[] = new Array<Endpoint | undefined>(Math.max(a.total, a.data.length)).fill(undefined);
    a.data.forEach((r, i) => (rows[i] = r));
    endpoints.value = rows;
    endpointTotal.value = rows.length;
    endpointsMissing.value = a.missing;
    endpointsOf.value = query;
    endpointsError.value = null;
    if (query === ".") everyEndpoint.value = rows.length;
    else if (everyEndpoint.peek() < 0) void countAll();
    learnIDs(a.data);
  } catch (err) {
    if (isAbort(err)) return;
    endpointsError.value = err;
  } finally {
    if (search === mine) endpointsBusy.value = false;
  }
}

async function countAll(): Promise<void> {
  try {
    everyEndpoint.value = (await call<Endpoint[]>("/graph/endpoint?q=.&limit=1")).total;
  } catch {
    // the line goes without the total
  }
}

/** Loads the rows from lo to hi, hi not included, where they are missing. */
export async function ensureEndpoints(lo: number, hi: number): Promise<void> {
  const mine = search;
  const rows = endpoints.peek();
  const waits: Promise<void>[] = [];
  for (let page = Math.floor(lo / pageSize); page * pageSize < Math.min(hi, rows.length); page++) {
    if (rows[page * pageSize] !== undefined) continue;
    let p = pending.get(page);
    if (!p) {
      p = loadPage(page, mine);
      pending.set(page, p);
    }
    waits.push(p);
  }
  await Promise.all(waits);
}

async function loadPage(page: number, mine: AbortController | null): Promise<void> {
  const query = endpointsOf.peek() ?? ".";
  try {
    const a = await call<Endpoint[]>(`/graph/endpoint?q=${encodeURIComponent(query)}&limit=${pageSize}&page=${page + 1}`, mine ? { signal: mine.signal } : {});
    if (mine !== search) return;
    const rows = endpoints.peek().slice();
    a.data.forEach((r, i) => (rows[page * pageSize + i] = r));
    endpoints.value = rows;
    learnIDs(a.data);
  } catch (err) {
    pending.delete(page);
    if (!isAbort(err)) endpointsError.value = err;
  }
}

// --- ids of the chosen --------------------------------------------------------------------

// The api lists counters by the ids of endpoints; a URL holds their names.
const ids = new Map<string, number>();
/** Chosen endpoints that the api does not know. */
export const unknownEndpoints = signal<string[]>([]);

function learnIDs(rows: readonly Endpoint[]): void {
  for (const r of rows) ids.set(r.endpoint, r.id);
}

async function idsOf(names: readonly string[], signal: AbortSignal): Promise<number[]> {
  const strangers = names.filter((n) => !ids.has(n));
  for (let i = 0; i < strangers.length; i += 100) {
    const q = strangers.slice(i, i + 100).map((n) => "endpoints=" + encodeURIComponent(n)).join("&");
    learnIDs((await call<Endpoint[]>("/graph/endpointobj?" + q, { signal })).data);
  }
  unknownEndpoints.value = names.filter((n) => !ids.has(n));
  return names.flatMap((n) => ids.get(n) ?? []);
}

/** Which of names exist. */
export async function known(names: readonly string[]): Promise<string[]> {
  await idsOf(names, new AbortController().signal);
  return names.filter((n) => ids.has(n));
}

// --- counters ---------------------------------------------------------------------------

/** Counters are listed for so many of the chosen endpoints at most. */
export const counterHosts = 50;
const maxCounterRows = 20_000;

export const counters = signal<Counter[]>([]);
export const countersBusy = signal(false);
export const countersError = signal<unknown>(null);
/** True when the list answers the choice and the filter of the moment. */
export const countersFresh = signal(false);
/** Step and type of every counter that was listed since the page was opened. */
export const steps = new Map<string, number>();

let listing: AbortController | null = null;

export async function listCounters(): Promise<void> {
  listing?.abort();
  const mine = (listing = new AbortController());
  const names = view.peek().endpoints.slice(0, counterHosts);
  if (names.length === 0) {
    counters.value = [];
    countersBusy.value = false;
    countersError.value = null;
    unknownEndpoints.value = [];
    return;
  }
  countersBusy.value = true;
  try {
    const eids = await idsOf(names, mine.signal);
    let rows: { counter: string; step: number; type: string }[] = [];
    if (eids.length > 0) {
      const q = encodeURIComponent(toQuery(view.peek().m));
      rows = (await call<typeof rows>(`/graph/endpoint_counter?eid=${eids.join(",")}&metricQuery=${q}&limit=${maxCounterRows}`, { signal: mine.signal })).data;
    }
    const by = new Map<string, Counter>();
    for (const r of rows) {
      const c = by.get(r.counter);
      if (c) c.hosts++;
      else by.set(r.counter, { counter: r.counter, step: r.step, type: r.type, hosts: 1 });
      steps.set(r.counter, r.step);
    }
    counters.value = [...by.values()].sort((a, b) => (a.counter < b.counter ? -1 : 1));
    countersError.value = null;
    countersFresh.value = true;
  } catch (err) {
    if (isAbort(err)) return;
    countersError.value = err;
  } finally {
    if (listing === mine) countersBusy.value = false;
  }
}

// --- follow the view ----------------------------------------------------------------------

const q = computed(() => view.value.q);
const wanted = computed(() => view.value.endpoints.slice(0, counterHosts).join("\n"));
const m = computed(() => view.value.m);

/** Keeps both lists in step with the view until the returned function is called. */
export function followLists(): () => void {
  const waiting: { q?: ReturnType<typeof setTimeout>; m?: ReturnType<typeof setTimeout> } = {};
  let firstQ = true;
  const stopQ = effect(() => {
    void q.value;
    clearTimeout(waiting.q);
    waiting.q = setTimeout(() => void searchEndpoints(), firstQ ? 0 : typing);
    firstQ = false;
  });
  let lastHosts: string | null = null;
  const stopC = effect(() => {
    const hosts = wanted.value;
    void m.value;
    countersFresh.value = false;
    clearTimeout(waiting.m);
    waiting.m = setTimeout(() => void listCounters(), hosts === lastHosts ? typing : 0);
    lastHosts = hosts;
  });
  // New names come by themselves; a list of several pages is left alone under whoever scrolls it.
  const timer = setInterval(() => {
    const v = view.peek();
    if (document.hidden || !v.live || v.from !== null || endpointsBusy.peek() || countersBusy.peek() || endpointTotal.peek() > pageSize) return;
    refreshLists();
  }, listPace * 1000);
  return () => {
    stopQ();
    stopC();
    clearInterval(timer);
    clearTimeout(waiting.q);
    clearTimeout(waiting.m);
    search?.abort();
    listing?.abort();
  };
}

/** Asks again for what is on screen: ages and new names. */
export function refreshLists(): void {
  void searchEndpoints();
  void listCounters();
}
