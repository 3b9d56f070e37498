// What a channel of each type is configured with.

export type FieldKind = "text" | "secret" | "check" | "tls" | "headers";

export interface ConfigField {
  key: string;
  kind: FieldKind;
  placeholder?: string;
  required?: boolean;
}

const url: ConfigField = { key: "url", kind: "text", placeholder: "http://127.0.0.1:8090/send", required: true };

/** The types there are, in the order in which they are offered. */
export const channelTypes: Readonly<Record<string, readonly ConfigField[]>> = {
  inbox: [],
  mail: [
    { key: "server", kind: "text", placeholder: "smtp.example.com:587", required: true },
    { key: "tls", kind: "tls" },
    { key: "user", kind: "text" },
    { key: "password", kind: "secret" },
    { key: "from", kind: "text", placeholder: "falcon@example.com", required: true },
    { key: "skip_verify", kind: "check" },
  ],
  webhook: [{ ...url, placeholder: "https://chat.example.com/hook" }, { key: "headers", kind: "headers", placeholder: "Authorization: Bearer …" }, { key: "timeout", kind: "text", placeholder: "5s" }],
  im: [url],
  sms: [url],
  form_mail: [url],
  log: [],
};

export type Config = Record<string, unknown>;

/** Headers as lines: Name: value. */
export const headerLines = (v: unknown): string =>
  v && typeof v === "object" ? Object.entries(v as Record<string, unknown>).map(([k, x]) => `${k}: ${String(x)}`).join("\n") : "";

/** The headers of lines; null when one is no header. */
export function parseHeaders(text: string): Record<string, string> | null {
  const out: Record<string, string> = {};
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const m = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*(.*?)\s*$/.exec(line);
    if (!m) return null;
    out[m[1] as string] = m[2] as string;
  }
  return out;
}

/** A configuration with only what its type knows, and nothing that is empty. */
export function cleaned(type: string, config: Config): Config {
  const out: Config = {};
  for (const f of channelTypes[type] ?? []) {
    const v = config[f.key];
    if (f.kind === "check") out[f.key] = v === true;
    else if (f.kind === "headers") {
      if (v && typeof v === "object" && Object.keys(v).length > 0) out[f.key] = v;
    } else if (f.kind === "tls") out[f.key] = typeof v === "string" && v !== "" ? v : "starttls";
    else if (typeof v === "string" && v.trim() !== "") out[f.key] = f.kind === "secret" ? v : v.trim();
  }
  return out;
}

/** Where a channel leads, in a few words. */
export function leadsTo(type: string, config: Config): string {
  const text = (key: string) => (typeof config[key] === "string" ? (config[key] as string) : "");
  if (type === "mail") return [text("from"), text("server")].filter((s) => s !== "").join(" → ");
  return text("url");
}
