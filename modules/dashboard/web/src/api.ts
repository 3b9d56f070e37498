// The one way to the api. Everything the page knows comes through call.
import { learn } from "./clock";

/** An answer that is no success, or none at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** For 429: after how many seconds another try is worth it. */
    readonly retryAfter = 0,
    /** Which field of what was sent is wrong, where the api says so. */
    readonly field = "",
  ) {
    super(message);
  }
}

export interface Answer<T> {
  data: T;
  /** X-Falcon-Total: how many rows there are beyond the page; -1 when not said. */
  total: number;
  /** X-Falcon-Partial: graph nodes, or judges, whose part is missing. */
  missing: string[];
  /** X-Falcon-CSRF, from auth_session. */
  csrf: string;
}

let csrf = "";
let onUnauthorized = (): void => {};

/** The token that proves a change comes from this page. */
export const setCSRF = (token: string): void => {
  csrf = token;
};

/** Says what happens when the api does not know us any more. */
export const whenUnauthorized = (f: () => void): void => {
  onUnauthorized = f;
};

export interface Options {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  body?: unknown;
  signal?: AbortSignal;
  /** The caller deals with 401 itself. */
  quiet401?: boolean;
}

/** Calls /api/v1 + path. It fails with an ApiError, or with an AbortError. */
export async function call<T>(path: string, o: Options = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { "X-Requested-With": "falcon" };
  if (csrf) headers["X-Falcon-CSRF"] = csrf;
  if (o.body !== undefined) headers["Content-Type"] = "application/json";
  let resp: Response;
  let text: string;
  try {
    resp = await fetch("/api/v1" + path, {
      method: o.method ?? "GET",
      headers,
      credentials: "same-origin",
      cache: "no-store",
      ...(o.body === undefined ? {} : { body: JSON.stringify(o.body) }),
      ...(o.signal ? { signal: o.signal } : {}),
    });
    text = await resp.text();
  } catch (err) {
    if (o.signal?.aborted) throw err;
    throw new ApiError(0, "");
  }
  learn(resp.headers.get("Date"));
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    data = undefined;
  }
  if (!resp.ok || data === undefined) {
    if (resp.status === 401 && !o.quiet401) onUnauthorized();
    const { error: said, field } = (data ?? {}) as { error?: unknown; field?: unknown };
    throw new ApiError(
      resp.ok ? 502 : resp.status, typeof said === "string" ? said : "", Number(resp.headers.get("Retry-After")) || 0, typeof field === "string" ? field : "",
    );
  }
  return {
    data: data as T,
    total: Number(resp.headers.get("X-Falcon-Total") ?? -1),
    missing: (resp.headers.get("X-Falcon-Partial") ?? "").split(",").filter((s) => s !== ""),
    csrf: resp.headers.get("X-Falcon-CSRF") ?? "",
  };
}

export const isAbort = (err: unknown): boolean => err instanceof DOMException && err.name === "AbortError";
