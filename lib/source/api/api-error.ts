/**
 * Owns what can go wrong between us and the API server, in the terms that the reflector decides by.
 *
 *   HTTP status, Status object, network, malformed answer -> ApiError -> retry | resume | list anew | say what is missing
 */
import { printable } from '../objects/fault.js';
import { field, items } from '../objects/raw.js';

/**
 * - `CREDENTIALS`: none could be had (file, plugin).
 * - `UNREACHABLE`: no answer, or it broke off.
 * - `STALLED`: silence for longer than a living server keeps.
 * - `STATUS`: the server refused, by HTTP status or by an ERROR in a watch.
 * - `BAD_ANSWER`: it is no answer of an API server.
 * - `HISTORY`: resource versions ran backwards: the server has other data than before (a restored backup).
 */
export type ApiErrorCode = 'CREDENTIALS' | 'UNREACHABLE' | 'STALLED' | 'STATUS' | 'BAD_ANSWER' | 'HISTORY';

export interface ApiErrorDetails {
  readonly status?: number;
  /** The word of a Status object, such as `Expired`. */
  readonly reason?: string;
  readonly retryAfterMs?: number | undefined;
  readonly isVersionTooLarge?: boolean;
  readonly cause?: unknown;
}

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number | undefined;
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
  /** We asked for a resource version that the server has not reached yet. */
  readonly isVersionTooLarge: boolean;

  constructor(
    readonly code: ApiErrorCode,
    message: string,
    details: ApiErrorDetails = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = details.status;
    this.reason = details.reason ?? '';
    this.retryAfterMs = details.retryAfterMs;
    this.isVersionTooLarge = details.isVersionTooLarge ?? false;
  }

  /** What we know is too old to go on from (410 Gone); servers before 1.18 say Gone, later ones Expired. */
  get isExpired(): boolean {
    return this.status === 410 || this.reason === 'Expired' || this.reason === 'Gone';
  }
}

const TOO_LARGE = 'ResourceVersionTooLarge';
/** A server that asks for more is not obeyed to the letter: a typo must not stop a node for a day. */
const MAX_RETRY_AFTER_MS = 120_000;

/** `json`: the Status object, if it is one; `status`: the HTTP status, for an answer without one in its body. */
export function statusError(json: unknown, status?: number, retryAfter?: string): ApiError {
  const code = field(json, 'code');
  const reason = field(json, 'reason');
  const message = field(json, 'message');
  const causes = items(field(json, 'details', 'causes'));
  const text = typeof message === 'string' ? message : 'no reason given';
  return new ApiError('STATUS', printable(text), {
    status: status ?? (typeof code === 'number' ? code : 500),
    reason: typeof reason === 'string' ? printable(reason) : '',
    retryAfterMs: retryAfterMs(retryAfter ?? field(json, 'details', 'retryAfterSeconds')),
    isVersionTooLarge:
      causes.some((cause) => field(cause, 'reason') === TOO_LARGE) || /too large resource version/i.test(text),
  });
}

/** Whatever was thrown, as one of ours. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError('UNREACHABLE', 'the connection to the API server failed', { cause: error });
}

/** Seconds, or (in a header) an HTTP date. */
function retryAfterMs(given: unknown): number | undefined {
  const seconds = typeof given === 'number' || /^\d+$/.test(String(given)) ? Number(given) : undefined;
  const ms = seconds === undefined ? Date.parse(String(given)) - Date.now() : seconds * 1_000;
  return ms > 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : undefined;
}
