/** Owns the failures of a source that the program branches on. */

/** `code`: `NOT_FOUND`: paths that were asked for do not exist. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  constructor(
    readonly code: 'NOT_FOUND',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
