package configs

import (
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules/strict"
)

// Duration is a length of time as people write it: "30s", "4h", "2d".
type Duration = strict.Duration

// Config is relais.toml. The tags fr and en describe each key; the reference
// (docs/configuration.md) and the file that init writes are made of them.
type Config struct {
	Domain     string       `toml:"domain" fr:"Domaine de messagerie du relais, comme dans CODE@DOMAINE." en:"The hub's own mail domain, as in CODE@DOMAIN."`
	DataDir    Path         `toml:"data_dir" default:"data" fr:"Dossier des données : index, messages scellés, trousseau." en:"Folder of the data: index, sealed messages, keystore."`
	Programmes Path         `toml:"programmes" default:"programmes" fr:"Dossier des fichiers de programme (*.toml)." en:"Folder of the programme files (*.toml)."`
	Locale     texts.Locale `toml:"locale" default:"fr" enum:"fr,en" fr:"Langue de ce que le relais écrit aux personnes : fr ou en." en:"Language of what the hub writes to people: fr or en."`
	Dev        bool         `toml:"dev" default:"false" fr:"Essai sur une machine isolée : identités de test admises, desk et nil facultatifs. Jamais avec de vrais patients." en:"Trial on a machine by itself: test identities are taken, desk and nil may be missing. Never with real patients."`

	Log            Log             `toml:"log" fr:"Journal technique, en JSON sur la sortie d'erreur. Il ne contient ni identité ni contenu." en:"Technical journal, JSON on standard error. It holds neither identity nor content."`
	TLS            TLS             `toml:"tls" fr:"Certificats du relais, et à qui il se fie." en:"The hub's certificates, and whom it trusts."`
	Trust          Trust           `toml:"trust" fr:"Espace de confiance : la liste blanche nationale." en:"Trusted space: the national white list."`
	Inbound        Inbound         `toml:"inbound" fr:"Réception du courrier des opérateurs (SMTP, RFC 5321)." en:"Mail in, from operators (SMTP, RFC 5321)."`
	Limits         Limits          `toml:"limits" fr:"Ce qui est examiné d'un message, quel que soit son chemin. Au-delà, le message est pris et transmis entier, mais le relais ne regarde pas plus loin ; une archive qui dépasse est tenue pour illisible." en:"What is looked into of a message, whichever way it comes. Beyond it the message is taken and relayed whole, but the hub looks no further; an archive that exceeds it counts as unreadable."`
	Submission     Submission      `toml:"submission" fr:"Dépôt de courrier par les comptes du relais (RFC 6409)." en:"Mail submission by accounts of the hub (RFC 6409)."`
	IMAP           IMAP            `toml:"imap" fr:"Boîte structurée pour les logiciels de messagerie (RFC 9051)." en:"Structured mailbox for mail clients (RFC 9051)."`
	Accounts       Accounts        `toml:"accounts" fr:"Comptes : connexion à la boîte structurée et au dépôt. Les mots de passe sont gardés sous forme d'empreinte Argon2id (RFC 9106)." en:"Accounts: logging in to the structured mailbox and to submission. Passwords are kept as Argon2id hashes (RFC 9106)."`
	OAuth          OAuth           `toml:"oauth" fr:"Connexion par un fournisseur d'identité (OAUTHBEARER, XOAUTH2), comme Pro Santé Connect : la personne est reconnue à son numéro RPPS, qui doit être celui du membre. Rien n'en est conservé." en:"Login through an identity provider (OAUTHBEARER, XOAUTH2), such as Pro Santé Connect: the person is known by their RPPS number, which must be the member's. Nothing of it is kept."`
	Clamd          Clamd           `toml:"clamd" fr:"Antivirus (ClamAV), facultatif : un message infecté est refusé ; sans réponse de clamd, rien n'est reçu. clamd écrit en clair ce qu'il examine dans son TemporaryDirectory : qu'il soit en mémoire (tmpfs)." en:"Antivirus (ClamAV), optional: an infected message is refused; while clamd does not answer nothing is taken. clamd writes what it scans, in clear, to its TemporaryDirectory: let that be in memory (tmpfs)."`
	Outbound       Outbound        `toml:"outbound" fr:"Envoi des copies." en:"Sending of copies."`
	Operators      []Operator      `toml:"operator" fr:"Une boîte que le relais tient chez un opérateur, comme client. Une section par boîte." en:"A box that the hub has at an operator, as a client. One section per box."`
	Triage         Triage          `toml:"triage" fr:"Messages en attente d'une décision." en:"Messages that wait for a decision."`
	Export         Export          `toml:"export" fr:"Archives IHE_XDM écrites par « relais parcours exporter » : ce qu'aucun document ne dit et que le logiciel qui les prend attend. Une valeur s'écrit code^libellé^OID de sa liste." en:"IHE_XDM archives written by \"relais pathway export\": what no document says and the software that takes them expects. A value is written code^label^OID of its list."`
	Directory      Directory       `toml:"directory" fr:"Annuaire national des boîtes (relais directory import)." en:"The national directory of boxes (relais directory import)."`
	Admin          Admin           `toml:"admin" fr:"Interface d'administration." en:"Admin interface."`
	Administrators []Administrator `toml:"administrator" fr:"Qui d'autre que le compte système du relais peut l'administrer, et pour quoi. Une section par personne ou service." en:"Who may administer the hub besides its own system user, and what for. One section per person or service."`
	Metrics        Metrics         `toml:"metrics" fr:"Mesures au format Prometheus." en:"Figures in Prometheus format."`
	Autoconfig     Autoconfig      `toml:"autoconfig" fr:"Réglages donnés aux logiciels de messagerie : Thunderbird et d'autres les demandent en HTTP quand on ajoute une boîte. La réponse est la même pour toute adresse." en:"Settings given to mail clients: Thunderbird and others ask for them by HTTP when a mailbox is added. The answer is the same for every address."`
	Audit          Audit           `toml:"audit" fr:"Traces : qui a fait ou vu quoi (relais audit)." en:"Traces: who did or saw what (relais audit)."`
	Retention      Retention       `toml:"retention" fr:"Durées de conservation. Ce que la loi demande de garder est gardé ; le reste part de lui-même, chaque jour, et chaque purge est tracée. 0s : pour toujours." en:"How long things are kept. What the law makes us keep is kept; the rest goes by itself, every day, and each purge is traced. 0s: for ever."`
	Keys           Keys            `toml:"keys" fr:"Clés de chiffrement des données." en:"Keys the data is encrypted with."`

	// File is where it was read from; relative paths have been resolved.
	File string
	doc  *strict.Document
}

// Log is the section [log].
type Log struct {
	Level string `toml:"level" default:"info" enum:"debug,info,warn,error" fr:"Le moins grave de ce qui est écrit : debug, info, warn, error." en:"The least that is written: debug, info, warn, error."`
}

// TLS is the section [tls].
type TLS struct {
	Cert        Path       `toml:"cert" fr:"Certificat de serveur, chaîne comprise (PEM)." en:"Server certificate with its chain (PEM)."`
	Key         Path       `toml:"key" fr:"Sa clé privée (PEM)." en:"Its private key (PEM)."`
	ClientCert  Path       `toml:"client_cert" fr:"Certificat présenté en envoyant ; sinon cert." en:"Certificate presented when sending; otherwise cert."`
	ClientKey   Path       `toml:"client_key" fr:"Sa clé privée ; sinon key." en:"Its private key; otherwise key."`
	Authorities Path       `toml:"authorities" fr:"Autorités admises (PEM), celles de l'IGC-Santé." en:"Authorities that are trusted (PEM), those of IGC-Santé."`
	CRLDir      Path       `toml:"crl_dir" fr:"Dossier des listes de révocation (*.crl) ; sans lui, rien n'est tenu pour révoqué." en:"Folder of revocation lists (*.crl); without it nothing counts as revoked."`
	CRLGrace    Duration   `toml:"crl_grace" default:"24h" fr:"Temps pendant lequel une liste de révocation sert encore quand la suivante est en retard. Au-delà, ou si l'autorité d'un correspondant n'a pas de liste dans crl_dir, il est refusé." en:"How long a revocation list is still used when the next one is overdue. Beyond that, or where crl_dir has no list of a peer's authority, the peer is refused."`
	PeerEKU     string     `toml:"peer_eku" default:"any" enum:"any,client" fr:"Usage exigé du certificat d'un correspondant : any (tout), client (authentification de client)." en:"Usage wanted of a peer's certificate: any, client (client authentication)."`
	MinVersion  TLSVersion `toml:"min_version" default:"1.2" enum:"1.2,1.3" fr:"Version de TLS la plus ancienne." en:"Oldest version of TLS."`
	MaxVersion  TLSVersion `toml:"max_version" default:"1.3" enum:"1.2,1.3" fr:"Version de TLS la plus récente." en:"Newest version of TLS."`
}

// Trust is the section [trust].
type Trust struct {
	WhiteList            Path     `toml:"white_list" fr:"Liste blanche nationale (XML). Vide : tout domaine est admis, pour des essais seulement." en:"The national white list (XML). Empty: every domain is taken, for trials only."`
	MaxAge               Duration `toml:"max_age" default:"7d" min:"1s" fr:"Âge au-delà duquel la liste est signalée comme ancienne." en:"Age from which the list is reported as old."`
	MaxShrink            Percent  `toml:"max_shrink" default:"20%" fr:"Part de ses domaines que la liste peut perdre d'un coup ; au-delà, l'ancienne reste et c'est signalé. Pour accepter une telle liste : \"100%\", le temps d'un rechargement, ou supprimer data_dir/trust/white-list.xml et recharger." en:"Share of its domains that the list may lose at once; beyond that the old one stays, and it is reported. To take such a list: \"100%\" for one reload, or remove data_dir/trust/white-list.xml and reload."`
	RequireOperatorMatch bool     `toml:"require_operator_match" default:"true" fr:"Exiger que le certificat soit celui d'un opérateur inscrit pour le domaine." en:"Demand that the certificate be that of an operator listed for the domain."`
}

// Inbound is the section [inbound].
type Inbound struct {
	Listen                Listens  `toml:"listen" fr:"Adresses d'écoute : starttls://hôte:port, tls://hôte:port ; sans préfixe, STARTTLS." en:"Addresses to listen on: starttls://host:port, tls://host:port; without prefix, STARTTLS."`
	RequireClientCert     bool     `toml:"require_client_cert" default:"true" fr:"Exiger un certificat de client. false n'est permis que sur la boucle locale." en:"Demand a client certificate. false is allowed on loopback only."`
	MaxMessageBytes       Size     `toml:"max_message_bytes" default:"25MiB" min:"1KiB" max:"1GiB" fr:"Taille d'un message ; annoncée (SIZE) et vérifiée." en:"Size of a message; announced (SIZE) and checked."`
	MaxConnections        int      `toml:"max_connections" default:"1000" min:"1" fr:"Connexions à la fois." en:"Connections at a time."`
	MaxConnectionsPerPeer int      `toml:"max_connections_per_peer" default:"50" min:"1" fr:"Connexions à la fois d'une même adresse." en:"Connections at a time from one address."`
	MessagesPerMinute     int      `toml:"messages_per_minute" default:"600" min:"0" fr:"Messages par minute, par correspondant et par expéditeur ; 0 : sans limite." en:"Messages a minute, per peer and per sender; 0: no limit."`
	RcptLimit             int      `toml:"rcpt_limit" default:"100" min:"1" max:"10000" fr:"Destinataires d'un message." en:"Recipients of one message."`
	LineLimit             Size     `toml:"line_limit" default:"64KiB" min:"1000" max:"1MiB" fr:"Longueur d'une ligne de message." en:"Length of a line of a message."`
	MinRate               Size     `toml:"min_rate" default:"256" min:"0" fr:"Octets par seconde en dessous desquels un envoi est coupé ; 0 : sans limite." en:"Bytes a second below which a transfer is cut off; 0: no limit."`
	HandshakeTimeout      Duration `toml:"handshake_timeout" default:"30s" min:"1s" fr:"Durée d'une négociation TLS." en:"Time for a TLS handshake."`
	CommandTimeout        Duration `toml:"command_timeout" default:"5m" min:"1s" fr:"Attente d'une commande." en:"Wait for a command."`
	DataTimeout           Duration `toml:"data_timeout" default:"3m" min:"1s" fr:"Attente de la suite d'un message." en:"Wait for more of a message."`
	MessageTimeout        Duration `toml:"message_timeout" default:"30m" min:"1s" fr:"Durée d'un message entier." en:"Time for a whole message."`
	MaxCommands           int      `toml:"max_commands" default:"300" min:"10" fr:"Commandes entre deux messages avant de raccrocher." en:"Commands between two messages before hanging up."`
	MaxErrors             int      `toml:"max_errors" default:"20" min:"1" fr:"Commandes refusées avant de raccrocher." en:"Refused commands before hanging up."`
}

// Limits is the section [limits].
type Limits struct {
	HeaderBytes    Size `toml:"header_bytes" default:"1MiB" min:"4KiB" max:"16MiB" fr:"Octets gardés de l'en-tête, et de ceux de toutes les parties ensemble." en:"Bytes kept of the header, and of those of all parts together."`
	HeaderFields   int  `toml:"header_fields" default:"1000" min:"100" max:"100000" fr:"Champs gardés d'un en-tête." en:"Fields kept of one header."`
	FieldBytes     Size `toml:"field_bytes" default:"64KiB" min:"1KiB" max:"1MiB" fr:"Octets d'un champ." en:"Bytes of one field."`
	Parts          int  `toml:"parts" default:"1000" min:"10" max:"100000" fr:"Parties d'un message, en tout." en:"Parts of a message, in all."`
	Depth          int  `toml:"depth" default:"64" min:"4" max:"64" fr:"Parties imbriquées." en:"Nesting of parts."`
	TextBytes      Size `toml:"text_bytes" default:"256KiB" min:"4KiB" max:"16MiB" fr:"Texte décodé où l'auteur et les indices sont cherchés." en:"Decoded text in which the author and clues are looked for."`
	Archives       int  `toml:"archives" default:"20" min:"1" max:"1000" fr:"Archives ouvertes." en:"Archives looked into."`
	ArchiveBytes   Size `toml:"archive_bytes" default:"64MiB" min:"1MiB" max:"1GiB" fr:"Octets d'une archive, tenue en mémoire." en:"Bytes of one archive, held in memory."`
	ArchiveEntries int  `toml:"archive_entries" default:"1000" min:"10" max:"100000" fr:"Fichiers d'une archive." en:"Files of one archive."`
	ArchiveRatio   int  `toml:"archive_ratio" default:"200" min:"2" max:"10000" fr:"Octets décompressés pour un octet d'archive." en:"Bytes unpacked for each byte of an archive."`
	UnpackedBytes  Size `toml:"unpacked_bytes" default:"256MiB" min:"1MiB" max:"4GiB" fr:"Octets décompressés, toutes archives ensemble." en:"Bytes unpacked, of all archives together."`
	MetadataBytes  Size `toml:"metadata_bytes" default:"2MiB" min:"64KiB" max:"64MiB" fr:"Octets d'un METADATA.XML." en:"Bytes of one METADATA.XML."`
	CDAHeaderBytes Size `toml:"cda_header_bytes" default:"1MiB" min:"64KiB" max:"64MiB" fr:"Octets lus de l'en-tête d'un document CDA." en:"Bytes read of the header of a CDA document."`
}

// Submission is the section [submission].
type Submission struct {
	Listen         Listens `toml:"listen" fr:"Adresses d'écoute : starttls://hôte:port, tls://hôte:port ; sans préfixe, TLS. Vide : fermé." en:"Addresses to listen on: starttls://host:port, tls://host:port; without prefix, TLS. Empty: off."`
	MaxConnections int     `toml:"max_connections" default:"1000" min:"1" fr:"Connexions à la fois." en:"Connections at a time."`
}

// IMAP is the section [imap].
type IMAP struct {
	Listen         Listens   `toml:"listen" fr:"Adresses d'écoute : starttls://hôte:port, tls://hôte:port ; sans préfixe, TLS. Vide : fermé." en:"Addresses to listen on: starttls://host:port, tls://host:port; without prefix, TLS. Empty: off."`
	Password       Passwords `toml:"password" default:"off" fr:"Connexion par mot de passe : \"on\", \"off\", ou la liste des réseaux d'où elle est permise." en:"Login by password: \"on\", \"off\", or the list of networks from which it is allowed."`
	MaxConnections int       `toml:"max_connections" default:"5000" min:"1" fr:"Connexions à la fois." en:"Connections at a time."`
	IdleTimeout    Duration  `toml:"idle_timeout" default:"30m" min:"30m" fr:"Attente d'une commande (RFC 9051 : 30 minutes au moins)." en:"Wait for a command (RFC 9051: at least 30 minutes)."`

	MaxConnectionsPerPeer    int  `toml:"max_connections_per_peer" default:"200" min:"1" fr:"Connexions à la fois d'une adresse (IPv6 : d'un réseau /64)." en:"Connections at a time from one address (IPv6: from one /64)."`
	MaxConnectionsPerAccount int  `toml:"max_connections_per_account" default:"50" min:"1" fr:"Connexions à la fois d'un compte." en:"Connections at a time of one account."`
	Quota                    Size `toml:"quota" default:"1GiB" min:"1MiB" fr:"Place des dossiers privés d'un compte." en:"Room for the private folders of an account."`
	QuotaMessages            int  `toml:"quota_messages" default:"200000" min:"1000" fr:"Messages dans les dossiers privés d'un compte." en:"Messages in the private folders of an account."`
	MaxFolders               int  `toml:"max_folders" default:"1000" min:"10" max:"100000" fr:"Dossiers privés d'un compte." en:"Private folders of an account."`
	MaxSubscriptions         int  `toml:"max_subscriptions" default:"2000" min:"100" max:"100000" fr:"Dossiers auxquels un compte s'abonne." en:"Folders an account subscribes to."`
	MaxCopied                int  `toml:"max_copied" default:"5000" min:"100" max:"100000" fr:"Messages copiés ou déplacés en une fois." en:"Messages copied or moved at once."`

	LoginAttempts       int  `toml:"login_attempts" default:"5" min:"1" max:"100" fr:"Essais de connexion avant de raccrocher." en:"Attempts to log in before hanging up."`
	CommandsBeforeLogin int  `toml:"commands_before_login" default:"60" min:"10" max:"100000" fr:"Commandes par minute avant la connexion." en:"Commands a minute before a login."`
	MaxErrors           int  `toml:"max_errors" default:"50" min:"1" max:"100000" fr:"Commandes illisibles avant de raccrocher." en:"Unreadable commands before hanging up."`
	CommandLimit        Size `toml:"command_limit" default:"64KiB" min:"8KiB" max:"16MiB" fr:"Longueur d'une commande, messages déposés non compris." en:"Length of a command, messages that are put apart."`
	AppendMessages      int  `toml:"append_messages" default:"1000" min:"1" max:"100000" fr:"Messages d'un dépôt (APPEND)." en:"Messages of one APPEND."`
	SetRanges           int  `toml:"set_ranges" default:"10000" min:"1000" max:"1000000" fr:"Suites de numéros dans une commande." en:"Ranges of numbers in one set."`
	SearchKeys          int  `toml:"search_keys" default:"500" min:"10" max:"10000" fr:"Critères d'une recherche." en:"Keys of one search."`
	SearchDepth         int  `toml:"search_depth" default:"20" min:"2" max:"100" fr:"Emboîtement de ces critères." en:"How deep keys may be nested."`
	SearchBytes         Size `toml:"search_bytes" default:"1GiB" min:"1MiB" max:"1024GiB" fr:"Contenu qu'une recherche peut ouvrir." en:"Content that one search may open."`
	SearchContexts      int  `toml:"search_contexts" default:"16" min:"1" max:"1000" fr:"Recherches tenues à jour sur une connexion (RFC 5267)." en:"Searches kept up to date on one connection (RFC 5267)."`
	ListPatterns        int  `toml:"list_patterns" default:"50" min:"1" max:"1000" fr:"Motifs d'une liste de dossiers." en:"Patterns of one list of folders."`

	HandshakeTimeout Duration `toml:"handshake_timeout" default:"30s" min:"1s" fr:"Durée d'une négociation TLS." en:"Time for a TLS handshake."`
	LoginTimeout     Duration `toml:"login_timeout" default:"2m" min:"5s" fr:"Attente d'une connexion réussie." en:"Wait for a login."`
	CommandTimeout   Duration `toml:"command_timeout" default:"2m" min:"5s" fr:"Attente de la suite d'une commande commencée." en:"Wait for the rest of a command that began."`
	MessageTimeout   Duration `toml:"message_timeout" default:"30m" min:"1m" fr:"Durée d'un message déposé." en:"Time for one message that is put."`
	MinRate          Size     `toml:"min_rate" default:"1KiB" min:"1" fr:"Octets par seconde en dessous desquels un dépôt est coupé, après une minute." en:"Bytes a second below which a message that is put is cut off, after a minute."`
	WriteTimeout     Duration `toml:"write_timeout" default:"1m" min:"5s" fr:"Attente d'un logiciel qui ne lit pas (64 Kio de réponses)." en:"Wait for a client that does not read (64 KiB of answers)."`
	PushInterval     Duration `toml:"push_interval" default:"100ms" min:"1ms" max:"1m" fr:"Temps le plus court entre deux annonces de nouveautés (IDLE, NOTIFY) ; la première part aussitôt." en:"Least time between two announcements of news (IDLE, NOTIFY); the first goes at once."`
}

// Accounts is the section [accounts].
type Accounts struct {
	PasswordLifetime Duration `toml:"password_lifetime" default:"0s" fr:"Durée d'un nouveau mot de passe, si --expires ne dit rien ; 0s : sans fin." en:"How long a new password lasts, unless --expires says; 0s: no end."`
	MaxWait          Duration `toml:"max_wait" default:"15m" min:"1s" max:"24h" fr:"Plus longue attente imposée à un compte après des échecs ; la première est d'une seconde et double à chaque échec." en:"Longest wait an account is made to bear after failures; the first is a second, doubled by each failure."`
	HashMemory       Size     `toml:"hash_memory" default:"64MiB" min:"8MiB" max:"1GiB" fr:"Mémoire d'un calcul d'empreinte." en:"Memory of one hash."`
	HashPasses       int      `toml:"hash_passes" default:"3" min:"1" max:"64" fr:"Passes d'un calcul d'empreinte." en:"Passes of one hash."`
	HashesAtOnce     int      `toml:"hashes_at_once" default:"2" min:"1" max:"64" fr:"Calculs d'empreinte à la fois ; les autres attendent leur tour." en:"Hashes at a time; the others wait for their turn."`
}

// OAuth is the section [oauth].
type OAuth struct {
	Issuer      string   `toml:"issuer" fr:"Adresse (https) du fournisseur d'identité. Vide : pas de connexion par jeton." en:"Address (https) of the identity provider. Empty: no login by token."`
	Discovery   string   `toml:"discovery" default:".well-known/openid-configuration" fr:"Document de découverte, sous issuer ; Pro Santé Connect : .well-known/wallet-openid-configuration." en:"Discovery document, below issuer; Pro Santé Connect: .well-known/wallet-openid-configuration."`
	Authorities Path     `toml:"authorities" fr:"Autorités (PEM) de son certificat ; sinon celles du système." en:"Authorities (PEM) of its certificate; otherwise those of the system."`
	Audiences   []string `toml:"audiences" fr:"Clients (aud, azp ou client_id) dont les jetons sont admis : ceux des logiciels de messagerie. Un jeton donné à un autre service n'ouvre rien." en:"Clients (aud, azp or client_id) whose tokens count: those of the mail programs. A token given to another service opens nothing."`
	Claims      []string `toml:"claims" default:"SubjectNameID,preferred_username" fr:"Où lire le numéro national, de la forme 8 suivi du RPPS ; le premier qui l'a compte." en:"Where to read the national number, 8 followed by the RPPS; the first that has it counts."`
	ClientID    string   `toml:"client_id" fr:"Identifiant du relais auprès du fournisseur, pour l'interroger sur chaque jeton (RFC 7662) ; sinon ses clés suffisent." en:"The hub's client id at the provider, to ask it about each token (RFC 7662); otherwise its keys are enough."`
	Secret      Secret   `toml:"secret" fr:"Son secret : file:CHEMIN, credential:NOM (systemd) ou env:NOM." en:"Its secret: file:PATH, credential:NAME (systemd) or env:NAME."`
	Session     Duration `toml:"session" default:"12h" min:"1m" fr:"Durée d'une connexion ouverte ainsi ; ensuite il faut un nouveau jeton." en:"How long a connection opened so may last; then a new token is needed."`
}

// Clamd is the section [clamd].
type Clamd struct {
	Address  string   `toml:"address" fr:"Socket de clamd : /chemin/clamd.ctl, ou hôte:port sur la boucle locale. Vide : pas d'antivirus." en:"Socket of clamd: /path/clamd.ctl, or host:port on loopback. Empty: no antivirus."`
	Timeout  Duration `toml:"timeout" default:"1m" min:"1s" max:"5m" fr:"Durée d'un examen ; au-delà, l'expéditeur est prié de réessayer." en:"Time for a scan; after it the sender is asked to try again."`
	MaxBytes Size     `toml:"max_bytes" default:"25MiB" min:"1KiB" max:"1GiB" fr:"Ce que clamd prend (son StreamMaxLength) : au moins inbound.max_message_bytes." en:"What clamd takes (its StreamMaxLength): at least inbound.max_message_bytes."`
	Scans    int      `toml:"scans" default:"8" min:"1" max:"1000" fr:"Examens à la fois ; moins que MaxThreads dans clamd." en:"Scans at a time; fewer than clamd's MaxThreads."`
}

// Outbound is the section [outbound].
type Outbound struct {
	Route              string     `toml:"route" default:"mx" enum:"mx,smarthost,operator" fr:"Chemin des copies : mx (directement), smarthost (par un serveur), operator (par la boîte d'un opérateur)." en:"Way of the copies: mx (directly), smarthost (by one server), operator (by a box at an operator)."`
	Smarthost          string     `toml:"smarthost" fr:"Serveur d'envoi, hôte:port, pour route = \"smarthost\"." en:"Sending server, host:port, for route = \"smarthost\"."`
	SmarthostDN        string     `toml:"smarthost_dn" fr:"Nom (DN) que son certificat doit porter." en:"Name (DN) that its certificate must bear."`
	CitizenMaxBytes    Size       `toml:"citizen_max_bytes" default:"23MiB" min:"64KiB" fr:"Taille d'un message vers Mon espace santé (…@patient.mssante.fr), qui prend 25 Mo en tout ; au-delà, le texte seul part." en:"Size of a message to Mon espace santé (…@patient.mssante.fr), which takes 25 MB in all; beyond it the text alone is sent."`
	NIL                string     `toml:"nil" fr:"Numéro d'homologation du produit, mis dans X-MSS-NIL. Obligatoire hors essai." en:"Reference of the product, put into X-MSS-NIL. Required outside trials."`
	TLS                string     `toml:"tls" default:"required" enum:"required,none" fr:"required, ou none : sans chiffrement, sur la boucle locale seulement." en:"required, or none: without encryption, on loopback only."`
	Helo               string     `toml:"helo" fr:"Nom donné dans EHLO ; sinon le domaine." en:"Name given in EHLO; otherwise the domain."`
	MXPort             int        `toml:"mx_port" default:"25" min:"1" max:"65535" fr:"Port des serveurs trouvés par MX." en:"Port of servers found by MX."`
	Resolver           string     `toml:"resolver" fr:"Serveur DNS, hôte:port ; sinon ceux du système." en:"DNS server, host:port; otherwise those of the system."`
	Retry              []Duration `toml:"retry" default:"20s,1m,5m,15m,30m,1h" min:"10ms" fr:"Attentes entre les essais ; la dernière se répète." en:"Waits between attempts; the last one repeats."`
	GiveUp             Duration   `toml:"give_up" default:"48h" min:"1s" fr:"Durée après laquelle une copie est abandonnée et son auteur prévenu." en:"Time after which a copy is given up and its author told."`
	Connections        int        `toml:"connections" default:"100" min:"1" fr:"Connexions à la fois." en:"Connections at a time."`
	ConnectionsPerPeer int        `toml:"connections_per_peer" default:"10" min:"1" fr:"Connexions à la fois vers un même serveur." en:"Connections at a time to one server."`
	YieldAtMost        Duration   `toml:"yield_at_most" default:"2s" min:"0s" max:"4s" fr:"Durée pendant laquelle, au plus, les copies attendent quand beaucoup de messages arrivent à la fois : leurs expéditeurs ont d'abord leur réponse ; 0s : elles n'attendent pas." en:"Time for which copies wait, at most, while many messages come at once: their senders have their answers first; 0s: they do not wait."`
	ConnectTimeout     Duration   `toml:"connect_timeout" default:"30s" min:"1s" fr:"Durée d'une connexion, TLS compris." en:"Time to connect, TLS included."`
	CommandTimeout     Duration   `toml:"command_timeout" default:"5m" min:"1s" fr:"Attente d'une réponse (RFC 5321 §4.5.3.2)." en:"Wait for a reply (RFC 5321 §4.5.3.2)."`
	DataTimeout        Duration   `toml:"data_timeout" default:"10m" min:"1s" fr:"Attente de la réponse au point final (RFC 5321 §4.5.3.2.6)." en:"Wait for the reply to the final dot (RFC 5321 §4.5.3.2.6)."`
	IdleTimeout        Duration   `toml:"idle_timeout" default:"30s" min:"1s" fr:"Durée pendant laquelle une connexion inoccupée est gardée." en:"Time for which an idle connection is kept."`
}

// Operator is one section [[operator]].
type Operator struct {
	Name      string   `toml:"name" fr:"Nom court, pour les listes." en:"Short name, for lists."`
	Address   string   `toml:"address" fr:"Adresse de la boîte." en:"Address of the box."`
	Programme string   `toml:"programme" fr:"Programme de la boîte ; facultatif s'il n'y en a qu'un." en:"Programme of the box; optional where there is only one."`
	IMAP      Endpoint `toml:"imap" fr:"Serveur IMAP : starttls://hôte:port ou tls://hôte:port ; sans préfixe, TLS. Son certificat doit porter ce nom d'hôte et venir d'une autorité de tls.authorities." en:"IMAP server: starttls://host:port or tls://host:port; without prefix, TLS. Its certificate must bear this host name and come from an authority of tls.authorities."`
	SMTP      Endpoint `toml:"smtp" fr:"Serveur de dépôt, écrit et reconnu de même." en:"Submission server, written and recognised likewise."`
	Auth      string   `toml:"auth" default:"certificate" enum:"certificate,password,xoauth2,oauthbearer" fr:"Authentification : certificate (SASL EXTERNAL), password, xoauth2 ou oauthbearer (jeton OpenID Connect)." en:"Authentication: certificate (SASL EXTERNAL), password, xoauth2 or oauthbearer (OpenID Connect token)."`
	Username  string   `toml:"username" fr:"Nom de connexion ; sinon l'adresse ou, avec certificate, celui que le serveur lit dans le certificat." en:"Login name; otherwise the address or, with certificate, what the server reads in the certificate."`
	Secret    Secret   `toml:"secret" fr:"Mot de passe ou secret de client : file:CHEMIN, credential:NOM (systemd) ou env:NOM." en:"Password or client secret: file:PATH, credential:NAME (systemd) or env:NAME."`

	Issuer            string   `toml:"issuer" fr:"Adresse (https) du fournisseur d'identité, pour un jeton." en:"Address (https) of the identity provider, for a token."`
	Discovery         string   `toml:"discovery" default:".well-known/openid-configuration" fr:"Document de découverte, sous issuer ; Pro Santé Connect : .well-known/wallet-openid-configuration." en:"Discovery document, below issuer; Pro Santé Connect: .well-known/wallet-openid-configuration."`
	IssuerAuthorities Path     `toml:"issuer_authorities" fr:"Autorités (PEM) du certificat du fournisseur d'identité ; sinon celles du système." en:"Authorities (PEM) of the identity provider's certificate; otherwise those of the system."`
	ClientID          string   `toml:"client_id" fr:"Identifiant de client OpenID Connect." en:"OpenID Connect client id."`
	Grant             string   `toml:"grant" default:"client_credentials" enum:"client_credentials,refresh_token" fr:"Comment le jeton est obtenu : client_credentials (le relais pour lui-même) ou refresh_token (au nom d'une personne)." en:"How the token is had: client_credentials (the hub for itself) or refresh_token (in a person's name)."`
	RefreshToken      Secret   `toml:"refresh_token" fr:"Premier jeton de rafraîchissement, écrit comme secret ; les suivants sont gardés scellés." en:"First refresh token, written like secret; those that follow are kept sealed."`
	Scopes            []string `toml:"scopes" default:"openid" fr:"Portées demandées ; Pro Santé Connect : openid, scope_all." en:"Scopes asked for; Pro Santé Connect: openid, scope_all."`

	Cert  Path     `toml:"cert" fr:"Certificat de client ; sinon celui de [tls]." en:"Client certificate; otherwise that of [tls]."`
	Key   Path     `toml:"key" fr:"Sa clé privée." en:"Its private key."`
	Inbox string   `toml:"inbox" default:"INBOX" fr:"Dossier relevé." en:"Folder that is read."`
	Done  string   `toml:"done" fr:"Dossier où ranger ce qui a été pris ; sinon les messages y restent, marqués lus." en:"Folder for what has been taken; otherwise messages stay, marked as read."`
	Aside string   `toml:"aside" fr:"Dossier où mettre de côté ce qui ne peut être pris ; sinon les messages y restent, marqués importants (\\Flagged)." en:"Folder for what cannot be taken; otherwise messages stay, marked as flagged (\\Flagged)."`
	Poll  Duration `toml:"poll" default:"1m" min:"1s" fr:"Intervalle des relèves là où le serveur ne prévient pas (IDLE)." en:"Interval of looks where the server does not tell (IDLE)."`
}

// Triage is the section [triage].
type Triage struct {
	Alert       Duration `toml:"alert" default:"30m" min:"1s" fr:"Nouvelle alerte si rien n'est décidé, puis toutes les heures au desk." en:"Another alert if nothing is decided, then hourly to the desk."`
	UrgentAlert Duration `toml:"urgent_alert" default:"10m" min:"1s" fr:"De même pour un message urgent." en:"The same for an urgent message."`
	GiveUp      Duration `toml:"give_up" default:"48h" min:"1s" fr:"Durée après laquelle l'expéditeur apprend que rien n'a été transmis." en:"Time after which the sender is told that nothing was transmitted."`
}

// Export is the section [export].
type Export struct {
	Content  Coded  `toml:"content" default:"07^Consultation^1.2.250.1.213.2.2" fr:"Activité d'où vient l'envoi (contentTypeCode)." en:"Activity that the submission comes from (contentTypeCode)."`
	Facility Coded  `toml:"facility" default:"SA01^Établissement public de santé^1.2.250.1.71.4.2.4" fr:"Secteur d'activité (healthcareFacilityTypeCode, JDV_J02)." en:"Kind of place of care (healthcareFacilityTypeCode, JDV_J02)."`
	Practice Coded  `toml:"practice" default:"AMBULATOIRE^Ambulatoire^1.2.250.1.213.1.1.4.9" fr:"Cadre d'exercice (practiceSettingCode, JDV_J04)." en:"Setting of care (practiceSettingCode, JDV_J04)."`
	Untyped  string `toml:"untyped" default:"34120-6" fr:"Type d'un document qui n'en a pas (typeCode, JDV_J07)." en:"Type of a document that has none (typeCode, JDV_J07)."`
	Class    string `toml:"class" default:"10" fr:"Classe d'un type que la table nationale ne connaît pas (classCode, TRE_A03)." en:"Class of a type that the national map does not know (classCode, TRE_A03)."`
}

// Directory is the section [directory].
type Directory struct {
	MaxShrink Percent  `toml:"max_shrink" default:"20%" fr:"Part des boîtes qui peut manquer à un nouvel extrait ; au-delà, il est refusé (en 75 jours, 7 % des boîtes disparaissent). Pour accepter un tel extrait : relais directory import --force." en:"Share of the boxes that a new extract may lack; beyond that it is refused (over 75 days 7 % of the boxes vanish). To take such an extract: relais directory import --force."`
	MaxAge    Duration `toml:"max_age" default:"30d" min:"1h" fr:"Âge au-delà duquel l'annuaire est signalé comme ancien." en:"Age from which the directory is reported as old."`
}

// Admin is the section [admin].
type Admin struct {
	Socket Path    `toml:"socket" fr:"Socket Unix des commandes ; sinon admin.sock dans data_dir." en:"Unix socket of the commands; otherwise admin.sock in data_dir."`
	Listen Listens `toml:"listen" fr:"Administration à distance, TLS mutuel. Vide : fermée." en:"Remote administration, mutual TLS. Empty: off."`
}

// Administrator is one section [[administrator]].
type Administrator struct {
	Role        string   `toml:"role" enum:"coordinator,auditor,operator" fr:"coordinator (parcours, équipes, messages, tri), auditor (traces) ou operator (exploitation : file, annuaire, clés, sauvegarde)." en:"coordinator (pathways, teams, messages, triage), auditor (traces) or operator (running it: queue, directory, keys, backup)."`
	Programmes  []string `toml:"programmes" fr:"Les programmes d'un coordinator ; [\"*\"] : tous." en:"The programmes of a coordinator; [\"*\"]: all."`
	Certificate string   `toml:"certificate" fr:"Son certificat : le nom (DN), ou l'empreinte SHA-256 en hexadécimal." en:"Their certificate: its name (DN), or its SHA-256 fingerprint in hexadecimal."`
	User        string   `toml:"user" fr:"Ou son compte sur cette machine, pour le socket." en:"Or their user on this machine, for the socket."`
}

// Metrics is the section [metrics].
type Metrics struct {
	Listen Listens `toml:"listen" fr:"Adresses d'écoute ; sans préfixe, HTTP sur la boucle locale. Vide : fermé." en:"Addresses to listen on; without prefix, HTTP on loopback. Empty: off."`
}

// Autoconfig is the section [autoconfig].
type Autoconfig struct {
	Listen     Listens  `toml:"listen" fr:"Adresses d'écoute : tls://hôte:port ; sans préfixe, HTTP sur la boucle locale, derrière un serveur web. Vide : fermé." en:"Addresses to listen on: tls://host:port; without prefix, HTTP on loopback, behind a web server. Empty: off."`
	IMAP       Endpoint `toml:"imap" fr:"Serveur IMAP tel que les logiciels le joignent : tls://hôte:port ou starttls://hôte:port ; sans préfixe, TLS. Sinon domain et le port d'imap.listen." en:"IMAP server as clients reach it: tls://host:port or starttls://host:port; without prefix, TLS. Otherwise domain and the port of imap.listen."`
	Submission Endpoint `toml:"submission" fr:"Serveur de dépôt, écrit de même. Sinon domain et le port de submission.listen." en:"Submission server, written likewise. Otherwise domain and the port of submission.listen."`
}

// Audit is the section [audit].
type Audit struct {
	Heads []Path   `toml:"heads" fr:"Dossiers hors de cette machine, ou au moins hors de data_dir, où une attestation signée des traces est écrite, un fichier par jour. Avec elle, relais audit verify --against prouve que rien n'a été retiré, même si tout data_dir est remis à un état plus ancien." en:"Folders off this machine, or at least outside data_dir, to which a signed statement of the traces is written, a file a day. With it relais audit verify --against proves that nothing was taken away, even if all of data_dir is put back to an older state."`
	Every Duration `toml:"every" default:"1h" min:"1m" fr:"Intervalle entre deux attestations." en:"Time from one statement to the next."`
}

// Retention is the section [retention].
type Retention struct {
	Technical Duration `toml:"technical" default:"365d" fr:"Traces techniques, et avis du relais qui ne concernent aucun parcours (CNIL : de 6 mois à 1 an)." en:"Technical traces, and notices of the hub about no pathway (CNIL: 6 months to 1 year)."`
	Record    Duration `toml:"record" default:"7305d" fr:"Traces applicatives, et parcours à partir de sa clôture : comme le dossier médical, 20 ans (CSP R.1112-7). Les traces d'un parcours encore là restent avec lui ; un parcours clos n'est jamais effacé par le relais seul : il demande." en:"Application traces, and a pathway from its closing: as the medical record, 20 years (CSP R.1112-7). Traces of a pathway that is still here stay with it; a closed pathway is never erased by the hub alone: it asks."`
	Taken     Duration `toml:"taken" default:"400d" fr:"Empreintes des messages pris dans une boîte d'opérateur, depuis qu'ils y ont été vus pour la dernière fois : plus longtemps que la boîte ne garde ses messages." en:"Digests of messages taken from an operator's box, since they were last seen there: longer than the box keeps its messages."`
	UntilAge  int      `toml:"until_age" default:"28" min:"0" max:"150" fr:"Ce qui concerne un enfant est gardé au moins jusqu'à cet âge, en années (CSP R.1112-7 : 28 ans)." en:"What is about a child is kept at least until this age, in years (CSP R.1112-7: 28)."`
}

// Keys is the section [keys].
type Keys struct {
	HubKey      Secret `toml:"hub_key" default:"file:keys/hub.key" fr:"Clé du relais : file:CHEMIN, credential:NOM (systemd) ou env:NOM. Jamais sauvegardée avec les données." en:"The hub's key: file:PATH, credential:NAME (systemd) or env:NAME. Never backed up with the data."`
	Passphrase  Secret `toml:"passphrase" fr:"Phrase de passe qui s'ajoute à la clé, écrite de même. Facultative." en:"Passphrase mixed into the key, written likewise. Optional."`
	RecoveryKey Path   `toml:"recovery_key" fr:"Clé publique de secours ; sa moitié privée est gardée hors ligne." en:"Public recovery key; its private half is kept offline."`
	EpochDir    Path   `toml:"epoch_dir" default:"keys/epochs" fr:"Dossier des clés d'époque, hors de data_dir et des sauvegardes." en:"Folder of the epoch keys, outside data_dir and backups."`
	Copies      []Path `toml:"copies" fr:"Autres lieux où le trousseau et l'époque sont recopiés." en:"Other places that the keystore and the epoch are copied to."`
}
