/**
 * Owns listing one resource, page by page.
 *
 *   GET ?limit=500 -> items as they arrive -> ReadObject ... continue -> GET ... -> List
 */
import { field } from '../objects/raw.js';
import type { ApiClient } from './api-client.js';
import { ApiError } from './api-error.js';
import { ListItems } from './list-items.js';
import type { ReadObject, Resource } from './resource.js';

export interface List {
  readonly objects: ReadonlyMap<string, ReadObject>;
  readonly resourceVersion: string;
  /** The server gave it in several pages. */
  readonly isPaged: boolean;
}

export interface ListRequest {
  readonly client: ApiClient;
  readonly resource: Resource;
  /** Reads one item; undefined: it does not say who it is. */
  readonly read: (json: unknown) => ReadObject | undefined;
  /** `0`: any there is, from the server's cache; '': the latest, from its storage; else at least this one. */
  readonly resourceVersion: string;
  /** Objects a page; 0: all in one. */
  readonly limit: number;
  readonly signal: AbortSignal;
}

/** Silence in the middle of an answer; a server ends requests by itself after 60 s. */
const SILENCE_MS = 60_000;
/** Pages that lead to each other would hold us for ever. */
const MAX_PAGES = 10_000;

/** Rejects with ApiError, whole or not at all: what was read of a list that fails is dropped. */
export async function listAll(request: ListRequest): Promise<List> {
  const objects = new Map<string, ReadObject>();
  const first = await readPage(request, '', objects);
  let pages = 1;
  for (let next = first.next; next !== ''; pages++) {
    if (pages >= MAX_PAGES) throw new ApiError('BAD_ANSWER', `the list has more than ${MAX_PAGES} pages`);
    next = (await readPage(request, next, objects)).next;
  }
  return { objects, resourceVersion: first.resourceVersion, isPaged: pages > 1 };
}

/** What the server's latest resource version is, for the price of one object. */
export async function latestVersion(request: Omit<ListRequest, 'resourceVersion' | 'limit'>): Promise<string> {
  const page = await readPage({ ...request, resourceVersion: '', limit: 1 }, '', new Map());
  return page.resourceVersion;
}

interface Page {
  readonly resourceVersion: string;
  readonly next: string;
}

async function readPage(request: ListRequest, token: string, objects: Map<string, ReadObject>): Promise<Page> {
  const { client, resource, resourceVersion, limit, signal, read } = request;
  const query: Record<string, string> = { ...resource.selectors };
  if (limit > 0) query['limit'] = `${limit}`;
  // A continued list has the version of its first page.
  if (token !== '') query['continue'] = token;
  else if (resourceVersion !== '') query['resourceVersion'] = resourceVersion;
  const body = await client.open({ path: resource.path, query, signal, silenceMs: () => SILENCE_MS });
  const list = new ListItems((json) => {
    const object = read(json);
    if (object !== undefined) objects.set(object.id, object);
  });
  for await (const chunk of body) list.feed(chunk);
  return pageOf(list.end(), resource);
}

/** An empty object, or an answer of somebody else, must not be taken for an empty cluster. */
function pageOf(json: unknown, { kind }: Resource): Page {
  const version = field(json, 'metadata', 'resourceVersion');
  const next = field(json, 'metadata', 'continue') ?? '';
  if (
    field(json, 'kind') !== `${kind}List` ||
    typeof version !== 'string' ||
    version === '' ||
    typeof next !== 'string'
  ) {
    throw new ApiError('BAD_ANSWER', `expected a ${kind}List with a resource version`);
  }
  return { resourceVersion: version, next };
}
