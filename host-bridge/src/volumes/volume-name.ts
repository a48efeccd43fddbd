/** zones.proto, Volume.name: the form of a zone's name. */
export const VOLUME_NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
export const VOLUME_NAME_RULE =
  "use 1 to 63 letters, digits, '_', '.' and '-', beginning with a letter or digit (a path of the host begins with '/')";
